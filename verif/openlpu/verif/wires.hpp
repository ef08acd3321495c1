// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// The wires between chips: a change at the one end comes out of the other after the wire's delay, and between nothing
// and its jitter later, in order. Times are in femtoseconds.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <queue>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

using Time = std::int64_t;

class Wire {
  public:
    Wire(unsigned width, Time delay, Time jitter) : width_(width), delay_(delay), jitter_(jitter) {}

    // Nothing comes out any more.
    void cut() { cut_ = true; }

    // Of every so manieth beat turn so many bits, so often.
    void disturb(unsigned bits, std::uint64_t every, std::uint64_t count) {
        turned_bits_ = bits;
        every_ = every;
        left_ = count;
    }

    // How many beats that were.
    std::uint64_t disturbed() const { return disturbed_; }

  private:
    friend class Wires;

    // A beat begins, at a falling edge of its clock: which of its bits will be wrong?
    void begin_beat(std::mt19937_64& random) {
        wrong_ = 0;
        if (++beats_ < every_ || !left_) return;
        beats_ = 0;
        --left_;
        ++disturbed_;
        while (static_cast<unsigned>(__builtin_popcountll(wrong_)) < turned_bits_)
            wrong_ |= std::uint64_t{1} << std::uniform_int_distribution<unsigned>(0, width_ - 1)(random);
    }

    unsigned width_;
    Time delay_, jitter_, last_ = 0;
    std::uint64_t clock_ = 0, data_ = 0, wrong_ = 0;
    bool cut_ = false;
    unsigned turned_bits_ = 0;
    std::uint64_t every_ = 0, left_ = 0, beats_ = 0, disturbed_ = 0;
};

class Wires {
  public:
    // Of jitter and errors.
    void seed(std::uint64_t number) { random_.seed(number); }

    std::size_t add(unsigned width, Time delay, Time jitter) {
        wires_.emplace_back(width, delay, jitter);
        return wires_.size() - 1;
    }

    std::size_t size() const { return wires_.size(); }
    Wire& operator[](std::size_t wire) { return wires_.at(wire); }

    // When something comes out next.
    Time next() const { return changes_.empty() ? INT64_MAX : changes_.top().at; }

    // What stands at the beginning of a wire from now on.
    void put(std::size_t number, Time now, std::uint64_t clock, std::uint64_t data) {
        Wire& wire = wires_[number];
        if (clock == wire.clock_ && data == wire.data_) return;
        if (!clock) wire.begin_beat(random_);
        wire.clock_ = clock;
        wire.data_ = data;
        const Time late = wire.jitter_ ? std::uniform_int_distribution<Time>(0, wire.jitter_)(random_) : 0;
        wire.last_ = std::max(wire.last_ + 1, now + wire.delay_ + late);
        changes_.push({wire.last_, count_++, number, clock, data ^ wire.wrong_});
    }

    // Calls `deliver(wire, clock, data)` for everything that comes out now.
    template <typename Deliver>
    void deliver(Time now, Deliver deliver) {
        while (next() == now) {
            const Change change = changes_.top();
            changes_.pop();
            if (!wires_[change.wire].cut_) deliver(change.wire, change.clock, change.data);
        }
    }

  private:
    struct Change {
        Time at;
        std::uint64_t number;
        std::size_t wire;
        std::uint64_t clock, data;
        bool operator>(const Change& other) const { return std::tie(at, number) > std::tie(other.at, other.number); }
    };

    std::vector<Wire> wires_;
    std::priority_queue<Change, std::vector<Change>, std::greater<Change>> changes_;
    std::mt19937_64 random_;
    std::uint64_t count_ = 0;
};
