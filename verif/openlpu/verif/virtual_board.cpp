// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// A board: a Verilated chip with its bridge, whose serial line is a file descriptor of bytes.
//
// The arguments are the descriptor, the clock cycles of a bit, and after how many quiet cycles the clock may stop. It
// goes on when bytes come. A line on standard input is answered with three numbers on standard output: clock cycles so
// far, bytes from the host, bytes to the host. The end of standard input is the end of the board.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr std::size_t BYTES_NOBODY_READS = 1 << 16;
constexpr int DATA_BITS = 8;
constexpr int BITS = DATA_BITS + 2;

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

class Board {
   public:
    Board(int line, unsigned bit_cycles, std::uint64_t patience)
        : line_(line), byte_cycles_(BITS * bit_cycles), patience_(patience), sender_(bit_cycles), receiver_(bit_cycles) {
        chip_->rx = 1;
        chip_->rst = 1;
        tick();
        tick();
        chip_->rst = 0;
    }

    ~Board() { chip_->final(); }

    // Runs until standard input ends.
    void run() {
        while (exchange(idle()))
            for (unsigned i = 0; !idle() && i < byte_cycles_; ++i) step();
    }

   private:
    bool idle() const { return quiet_ >= patience_ && input_.empty(); }

    void step() {
        if (sender_.idle() && !input_.empty()) {
            sender_.begin(input_.front());
            input_.pop_front();
            ++received_;
        }
        chip_->rx = sender_.step();
        tick();
        std::uint8_t byte;
        if (receiver_.step(chip_->tx, byte)) {
            ++sent_;
            // As on a real line, what nobody reads is lost.
            if (output_.size() < BYTES_NOBODY_READS) output_.push_back(byte);
        }
        quiet_ = sender_.idle() && receiver_.idle() && !chip_->running ? quiet_ + 1 : 0;
    }

    void tick() {
        chip_->clk = 0;
        chip_->eval();
        chip_->clk = 1;
        chip_->eval();
        ++cycles_;
    }

    // Moves bytes between the descriptor and the queues, waiting for some if it may; false at the end.
    bool exchange(bool may_wait) {
        pollfd ends[] = {{STDIN_FILENO, POLLIN, 0}, {line_, 0, 0}};
        if (input_.empty()) ends[1].events |= POLLIN;
        if (!output_.empty()) ends[1].events |= POLLOUT;
        if (poll(ends, 2, may_wait ? -1 : 0) < 0) return true;
        std::uint8_t bytes[4096];
        if (ends[1].revents & POLLIN) {
            const ssize_t count = read(line_, bytes, sizeof bytes);
            if (count > 0) input_.insert(input_.end(), bytes, bytes + count);
        }
        if (ends[1].revents & POLLOUT) {
            std::size_t ready = 0;
            for (; ready < sizeof bytes && ready < output_.size(); ++ready) bytes[ready] = output_[ready];
            const ssize_t count = write(line_, bytes, ready);
            if (count > 0) output_.erase(output_.begin(), output_.begin() + count);
        }
        if (!ends[0].revents) return true;
        const ssize_t asked = read(STDIN_FILENO, bytes, sizeof bytes);
        for (ssize_t i = 0; i < asked; ++i)
            if (bytes[i] == '\n')
                std::printf("%llu %llu %llu\n", static_cast<unsigned long long>(cycles_),
                            static_cast<unsigned long long>(received_), static_cast<unsigned long long>(sent_));
        std::fflush(stdout);
        return asked > 0;
    }

    const std::unique_ptr<Vtop> chip_ = std::make_unique<Vtop>("");
    const int line_;
    const unsigned byte_cycles_;
    const std::uint64_t patience_;
    Sender sender_;
    Receiver receiver_;
    std::deque<std::uint8_t> input_, output_;
    std::uint64_t cycles_ = 0, received_ = 0, sent_ = 0, quiet_ = 0;
};

}  // namespace

int main(int, char** argv) {
    // Whoever started the board ends it, also when the terminal interrupts both.
    signal(SIGINT, SIG_IGN);
    const int line = std::atoi(argv[1]);
    fcntl(line, F_SETFL, fcntl(line, F_GETFL) | O_NONBLOCK);
    Board(line, std::atoi(argv[2]), std::atoll(argv[3])).run();
    return 0;
}
