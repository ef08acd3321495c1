// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// Boards: Verilated chips with bridges, each with a clock of its own, whose serial lines are file descriptors of bytes;
// and the wires between their links. Times are in femtoseconds.
//
// `LINKS(LINK)` in front of this text calls LINK(link) for every link of a chip, LINK_WIDTH are their wires, and
// `wires.hpp` stands there, too. The arguments are the clock cycles of a bit, after how many quiet cycles the clocks may
// stop, the seed of what is random, and then of each board
//
//     board DESCRIPTOR PERIOD PHASE
//
// and of each wire, from the first end to the second,
//
//     wire BOARD LINK BOARD LINK DELAY JITTER
//
// Clocks go on when bytes come. Requests come as lines on standard input, whose end is the end of the boards:
//
//     traffic BOARD                         answers: clock cycles so far, bytes from the host, bytes to the host
//     errors BOARD LINK BITS EVERY COUNT    on the wire to there, turn so many bits of every so manieth beat, so often
//     cut BOARD LINK                        nothing comes out of the wire to there any more

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr std::size_t BYTES_NOBODY_READS = 1 << 16;
constexpr int DATA_BITS = 8;
constexpr int BITS = DATA_BITS + 2;
constexpr std::uint64_t RESET_CYCLES = 4;

// The host's transmitter: start bit, eight data bits from the lowest on, stop bit.
class Sender {
   public:
    explicit Sender(unsigned bit_cycles) : bit_cycles_(bit_cycles) {}

    bool idle() const { return left_ == 0; }

    void begin(std::uint8_t byte) {
        shift_ = 1u << (DATA_BITS + 1) | byte << 1;
        left_ = BITS * bit_cycles_;
    }

    // The line in this cycle.
    bool step() {
        if (left_ == 0) return true;
        const unsigned bit = BITS - 1 - (left_ - 1) / bit_cycles_;
        --left_;
        return shift_ >> bit & 1;
    }

   private:
    const unsigned bit_cycles_;
    unsigned shift_ = 0, left_ = 0;
};

// The host's receiver: samples each bit in its middle.
class Receiver {
   public:
    explicit Receiver(unsigned bit_cycles) : bit_cycles_(bit_cycles) {}

    bool idle() const { return age_ == 0; }

    // Takes the line in this cycle; true when a byte is complete.
    bool step(bool line, std::uint8_t& byte) {
        if (age_ == 0 && line) return false;
        const unsigned bit = age_ / bit_cycles_;
        if (age_ % bit_cycles_ == bit_cycles_ / 2) shift_ |= static_cast<unsigned>(line) << bit;
        ++age_;
        // Half a bit early, to be there when the next one begins.
        if (age_ < BITS * bit_cycles_ - bit_cycles_ / 2 + 1) return false;
        byte = shift_ >> 1 & 0xFF;
        age_ = shift_ = 0;
        return true;
    }

   private:
    const unsigned bit_cycles_;
    unsigned shift_ = 0, age_ = 0;
};

// The ports of a link.
struct LinkPorts {
    CData &tx_clock, &rx_clock;
    std::uint64_t (*tx_data)(const Vtop&);
    void (*set_rx_data)(Vtop&, std::uint64_t);
};

class Board {
   public:
    Board(int line, unsigned bit_cycles, Time period, Time phase)
        : line_(line), half_(period / 2), next_(phase), sender_(bit_cycles), receiver_(bit_cycles) {
        fcntl(line_, F_SETFL, fcntl(line_, F_GETFL) | O_NONBLOCK);
        chip_->rst = 1;
        chip_->rx = 1;
#define LINK(N)                                                                        \
    links_.push_back({chip_->c2c##N##_tx___05Fclock, chip_->c2c##N##_rx___05Fclock,    \
                      [](const Vtop& chip) { return std::uint64_t{chip.c2c##N##_tx___05Fdata}; }, \
                      [](Vtop& chip, std::uint64_t data) { chip.c2c##N##_rx___05Fdata = data; }});
        LINKS(LINK)
#undef LINK
    }

    ~Board() { chip_->final(); }

    Time next() const { return next_; }
    std::uint64_t cycles() const { return cycles_; }
    bool idle(std::uint64_t patience) const { return quiet_ >= patience && input_.empty(); }

    // The next edge of the clock, which is not seen before `eval`.
    void turn_clock() {
        next_ += half_;
        chip_->clk = !chip_->clk;
        if (!chip_->clk) return;
        if (sender_.idle() && !input_.empty()) {
            sender_.begin(input_.front());
            input_.pop_front();
            ++received_;
        }
        chip_->rx = sender_.step();
        chip_->rst = cycles_ < RESET_CYCLES;
        ++cycles_;
        rises_ = true;
    }

    void set_wires(std::size_t link, std::uint64_t clock, std::uint64_t data) {
        links_[link].rx_clock = clock;
        links_[link].set_rx_data(*chip_, data);
    }

    std::uint64_t wire_clock(std::size_t link) const { return links_[link].tx_clock; }
    std::uint64_t wire_data(std::size_t link) const { return links_[link].tx_data(*chip_); }

    void eval() {
        chip_->eval();
        if (!std::exchange(rises_, false)) return;
        std::uint8_t byte;
        if (receiver_.step(chip_->tx, byte)) {
            ++sent_;
            // As on a real line, what nobody reads is lost.
            if (output_.size() < BYTES_NOBODY_READS) output_.push_back(byte);
        }
        quiet_ = sender_.idle() && receiver_.idle() && !chip_->running ? quiet_ + 1 : 0;
    }

    pollfd wanted() const {
        const short in = input_.empty() ? POLLIN : 0, out = output_.empty() ? 0 : POLLOUT;
        return {line_, static_cast<short>(in | out), 0};
    }

    // Moves bytes between the descriptor and the queues.
    void exchange(short ready) {
        std::uint8_t bytes[4096];
        if (ready & POLLIN) {
            const ssize_t count = read(line_, bytes, sizeof bytes);
            if (count > 0) input_.insert(input_.end(), bytes, bytes + count);
        }
        if (ready & POLLOUT) {
            std::size_t waiting = 0;
            for (; waiting < sizeof bytes && waiting < output_.size(); ++waiting) bytes[waiting] = output_[waiting];
            const ssize_t count = write(line_, bytes, waiting);
            if (count > 0) output_.erase(output_.begin(), output_.begin() + count);
        }
    }

    std::string traffic() const {
        return std::to_string(cycles_) + " " + std::to_string(received_) + " " + std::to_string(sent_);
    }

   private:
    const std::unique_ptr<Vtop> chip_ = std::make_unique<Vtop>("");
    std::vector<LinkPorts> links_;
    const int line_;
    const Time half_;
    Time next_;
    bool rises_ = false;
    Sender sender_;
    Receiver receiver_;
    std::deque<std::uint8_t> input_, output_;
    std::uint64_t cycles_ = 0, received_ = 0, sent_ = 0, quiet_ = 0;
};

using End = std::pair<std::size_t, std::size_t>;

class Boards {
   public:
    Boards(unsigned bit_cycles, std::uint64_t patience, std::uint64_t seed)
        : bit_cycles_(bit_cycles), patience_(patience) {
        wires_.seed(seed);
    }

    // A line of the arguments.
    void add(const std::string& line) {
        std::istringstream words(line);
        std::string what;
        words >> what;
        if (what == "board") {
            int descriptor;
            Time period, phase;
            words >> descriptor >> period >> phase;
            boards_.push_back(std::make_unique<Board>(descriptor, bit_cycles_, period, phase));
        } else {
            End from, to;
            Time delay, jitter;
            words >> from.first >> from.second >> to.first >> to.second >> delay >> jitter;
            wire_to_[to] = wires_.add(LINK_WIDTH, delay, jitter);
            ends_.push_back({from, to});
        }
    }

    // Runs until standard input ends.
    void run() {
        while (exchange(idle())) {
            const std::uint64_t until = boards_[0]->cycles() + BITS * bit_cycles_;
            while (!idle() && boards_[0]->cycles() < until) step();
        }
    }

   private:
    bool idle() const {
        for (const auto& board : boards_)
            if (!board->idle(patience_)) return false;
        return true;
    }

    // Everything that happens at the next moment at which anything does.
    void step() {
        Time now = wires_.next();
        for (const auto& board : boards_) now = std::min(now, board->next());
        std::uint64_t changed = 0;
        for (std::size_t i = 0; i < boards_.size(); ++i)
            if (boards_[i]->next() == now) {
                boards_[i]->turn_clock();
                changed |= std::uint64_t{1} << i;
            }
        wires_.deliver(now, [&](std::size_t wire, std::uint64_t clock, std::uint64_t data) {
            const End& to = ends_[wire].second;
            boards_[to.first]->set_wires(to.second, clock, data);
            changed |= std::uint64_t{1} << to.first;
        });
        for (std::size_t i = 0; i < boards_.size(); ++i)
            if (changed >> i & 1) boards_[i]->eval();
        for (std::size_t wire = 0; wire < ends_.size(); ++wire) {
            const auto& [board, link] = ends_[wire].first;
            if (changed >> board & 1)
                wires_.put(wire, now, boards_[board]->wire_clock(link), boards_[board]->wire_data(link));
        }
    }

    // Moves bytes, and serves requests, waiting for some if it may; false at the end.
    bool exchange(bool may_wait) {
        std::vector<pollfd> ends{{STDIN_FILENO, POLLIN, 0}};
        for (const auto& board : boards_) ends.push_back(board->wanted());
        if (poll(ends.data(), ends.size(), may_wait ? -1 : 0) < 0) return true;
        for (std::size_t i = 0; i < boards_.size(); ++i) boards_[i]->exchange(ends[i + 1].revents);
        if (!ends[0].revents) return true;
        char text[4096];
        const ssize_t count = read(STDIN_FILENO, text, sizeof text);
        if (count <= 0) return false;
        requests_.append(text, count);
        for (std::size_t end; (end = requests_.find('\n')) != std::string::npos; requests_.erase(0, end + 1))
            serve(requests_.substr(0, end));
        std::fflush(stdout);
        return true;
    }

    void serve(const std::string& line) {
        std::istringstream words(line);
        std::string what;
        End end;
        words >> what >> end.first >> end.second;
        if (what == "traffic") {
            std::puts(boards_.at(end.first)->traffic().c_str());
        } else if (what == "errors") {
            unsigned bits;
            std::uint64_t every, count;
            words >> bits >> every >> count;
            wires_[wire_to_.at(end)].disturb(bits, every, count);
        } else {
            wires_[wire_to_.at(end)].cut();
        }
    }

    const unsigned bit_cycles_;
    const std::uint64_t patience_;
    std::vector<std::unique_ptr<Board>> boards_;
    Wires wires_;
    std::vector<std::pair<End, End>> ends_;
    std::map<End, std::size_t> wire_to_;
    std::string requests_;
};

}  // namespace

int main(int argc, char** argv) {
    // Whoever started the boards ends them, also when the terminal interrupts both.
    signal(SIGINT, SIG_IGN);
    Boards boards(std::atoi(argv[1]), std::atoll(argv[2]), std::atoll(argv[3]));
    for (int i = 4; i < argc; ++i) boards.add(argv[i]);
    boards.run();
    return 0;
}
