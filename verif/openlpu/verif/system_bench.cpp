// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// Verilated chips, each with a clock of its own, and the wires between them: a simulation in time, not in cycles.
//
// `PORTS(PORT)` in front of this text calls PORT(chip, port) for every port of every chip; the top module calls it
// chip<number>_<port>. `wires.hpp` stands there, too. Times are in femtoseconds, data are hexadecimal, other numbers decimal. Requests come as lines.
//
//     clock CHIP PERIOD PHASE                 the chip's clock; before anything happens
//     wire CHIP LINK CHIP LINK DELAY JITTER   from the first end to the second
//     seed NUMBER                             of jitter and errors
//     set CHIP PORT DATA                      from now on
//     get CHIP PORT                           answers DATA
//     tick CHIP COUNT                         go on for so many rising edges of the chip's clock
//     until CHIP PORT DATA LIMIT              go on until a port has a value; answers how many edges that took, or -1
//     errors CHIP LINK BITS EVERY COUNT       on the wire to there, turn so many bits of every so manieth beat, so often
//     turned CHIP LINK                        answers how many beats that were
//     trace CHIP PORTS NAMES...               from now on keep the ports of every cycle of the program
//     traced CHIP                             answers how many cycles, and for each a line: its number, the ports; forgets
//     cut CHIP LINK                           nothing comes out of the wire to there any more

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Port {
    std::function<void(const std::string&)> put;
    std::function<std::string()> get;
    std::function<void(std::uint64_t)> set;
    std::function<std::uint64_t()> value;
};

template <typename Signal>
Port bound(Signal& signal) {
    const auto set = [&signal](std::uint64_t value) { signal = static_cast<Signal>(value); };
    const auto value = [&signal]() { return static_cast<std::uint64_t>(signal); };
    return {[set](const std::string& hex) { set(std::stoull(hex, nullptr, 16)); },
            [value]() {
                std::ostringstream text;
                text << std::hex << value();
                return text.str();
            },
            set, value};
}

template <std::size_t Words>
Port bound(VlWide<Words>& signal) {
    return {[&signal](const std::string& hex) {
                const std::string digits = std::string(8 * Words, '0') + hex;
                for (std::size_t i = 0; i < Words; ++i)
                    signal[i] =
                        static_cast<EData>(std::stoul(digits.substr(digits.size() - 8 * (i + 1), 8), nullptr, 16));
            },
            [&signal]() {
                std::string text(8 * Words + 1, '\0');
                for (std::size_t i = 0; i < Words; ++i)
                    std::snprintf(&text[8 * i], 9, "%08x", signal[Words - 1 - i]);
                text.pop_back();
                return text;
            },
            nullptr, nullptr};
}

struct Clock {
    Time half = 5'000'000, next = 0;
    bool level = false;
    std::function<void(std::uint64_t)> drive;
    std::uint64_t edges = 0;
};

struct Recorder {
    const Port *runs = nullptr, *cycle = nullptr;
    std::vector<const Port*> ports;
    std::vector<std::string> lines;
};

struct Connection {
    const Port *from_clock, *from_data, *to_clock, *to_data;
};

class Bench {
  public:
    Bench() : top(std::make_unique<Vtop>("")) {
#define PORT(N, NAME) ports[{N, #NAME}] = bound(top->chip##N##_##NAME);
        PORTS(PORT)
#undef PORT
        for (const auto& [key, port] : ports)
            if (key.second == "clk") {
                if (clocks.size() <= key.first) {
                    clocks.resize(key.first + 1);
                    recorders.resize(key.first + 1);
                }
                clocks[key.first].drive = port.set;
            }
    }

    void serve() {
        std::string request;
        while (std::cin >> request) {
            if (request == "clock") {
                Clock& clock = clocks[number()];
                clock.half = number() / 2;
                clock.next = number();
            } else if (request == "seed") {
                wires.seed(number());
            } else if (request == "wire") {
                add_wire();
            } else if (request == "set") {
                Port& port = named();
                port.put(word());
                top->eval();
            } else if (request == "get") {
                answer(named().get());
            } else if (request == "tick") {
                const std::size_t chip = number();
                advance(chip, number());
            } else if (request == "until") {
                const std::size_t chip = number();
                const Port& port = ports.at({chip, word()});
                const std::uint64_t value = std::stoull(word(), nullptr, 16);
                const Time limit = number();
                Time waited = 0;
                while (port.value() != value && waited < limit) {
                    advance(chip, 1);
                    ++waited;
                }
                answer(std::to_string(port.value() == value ? waited : -1));
            } else if (request == "errors") {
                Wire& wire = wire_to();
                const unsigned bits = number();
                const std::uint64_t every = number();
                wire.disturb(bits, every, number());
            } else if (request == "turned") {
                answer(std::to_string(wire_to().disturbed()));
            } else if (request == "trace") {
                const std::size_t chip = number();
                recorders[chip] = {&ports.at({chip, "c2c_runs"}), &ports.at({chip, "cycle"}), {}, {}};
                for (Time left = number(); left > 0; --left) recorders[chip].ports.push_back(&ports.at({chip, word()}));
            } else if (request == "traced") {
                Recorder& recorder = recorders[number()];
                answer(std::to_string(recorder.lines.size()));
                for (const std::string& line : recorder.lines) answer(line);
                recorder.lines.clear();
            } else if (request == "cut") {
                wire_to().cut();
            } else {
                std::fprintf(stderr, "unknown request %s\n", request.c_str());
                std::exit(2);
            }
        }
        top->final();
    }

  private:
    static Time number() {
        Time value = 0;
        std::cin >> value;
        return value;
    }

    static std::string word() {
        std::string value;
        std::cin >> value;
        return value;
    }

    static void answer(const std::string& text) {
        std::puts(text.c_str());
        std::fflush(stdout);
    }

    Port& named() {
        const std::size_t chip = number();
        return ports.at({chip, word()});
    }

    const Port& of_link(std::size_t chip, std::size_t link, const std::string& name) {
        return ports.at({chip, "c2c" + std::to_string(link) + "_" + name});
    }

    void add_wire() {
        const std::size_t chip = number(), link = number(), to_chip = number(), to_link = number();
        connections.push_back({&of_link(chip, link, "tx_clock"), &of_link(chip, link, "tx_data"),
                               &of_link(to_chip, to_link, "rx_clock"), &of_link(to_chip, to_link, "rx_data")});
        const Time delay = number();
        ends[{to_chip, to_link}] = wires.add(LINK_WIDTH, delay, number());
    }

    Wire& wire_to() {
        const std::size_t chip = number(), link = number();
        return wires[ends.at({chip, link})];
    }

    void advance(std::size_t chip, std::uint64_t edges) {
        const std::uint64_t until = clocks[chip].edges + edges;
        while (clocks[chip].edges < until) step();
    }

    // Everything that happens at the next moment at which anything does.
    void step() {
        Time now = wires.next();
        for (const Clock& clock : clocks) now = std::min(now, clock.next);
        for (std::size_t chip = 0; chip < clocks.size(); ++chip)
            if (clocks[chip].next == now && !clocks[chip].level) record(recorders[chip]);
        for (Clock& clock : clocks)
            if (clock.next == now) {
                clock.level = !clock.level;
                clock.edges += clock.level;
                clock.next += clock.half;
                clock.drive(clock.level);
            }
        wires.deliver(now, [this](std::size_t wire, std::uint64_t clock, std::uint64_t data) {
            connections[wire].to_clock->set(clock);
            connections[wire].to_data->set(data);
        });
        top->eval();
        for (std::size_t i = 0; i < connections.size(); ++i)
            wires.put(i, now, connections[i].from_clock->value(), connections[i].from_data->value());
    }

    // What stands in a cycle of the core clock that ends now; the wire clock may have cycles that are none.
    static void record(Recorder& recorder) {
        if (!recorder.runs || !recorder.runs->value()) return;
        const std::int32_t cycle = static_cast<std::int32_t>(recorder.cycle->value());
        if (cycle < 0) {
            // A program is about to begin: what came before was none.
            recorder.lines.clear();
            return;
        }
        std::string line = std::to_string(cycle);
        for (const Port* port : recorder.ports) line += " " + port->get();
        recorder.lines.push_back(line);
    }

    std::unique_ptr<Vtop> top;
    std::map<std::pair<std::size_t, std::string>, Port> ports;
    std::vector<Clock> clocks;
    std::vector<Recorder> recorders;
    Wires wires;
    std::vector<Connection> connections;
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> ends;
};

}  // namespace

int main() {
    Bench().serve();
    return 0;
}
