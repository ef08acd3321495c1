// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// The host of a Verilated chip with its bridge, but without a serial line: a byte a cycle, either way.
//
// The argument is after how many cycles of silence there is nothing more to come. Standard input is a sequence of
// batches, each its length in decimal, a newline, and its bytes; each is answered likewise with all that came back.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "Vtop.h"
#include "verilated.h"

namespace {

class Pipe {
   public:
    explicit Pipe(std::uint64_t patience) : patience_(patience) {
        chip_->rst = 1;
        tick();
        chip_->rst = 0;
        chip_->tx_ready = 1;
    }

    ~Pipe() { chip_->final(); }

    // Sends bytes, and takes what comes until it has been silent, and no program runs.
    std::string exchange(const std::string& bytes) {
        received_.clear();
        chip_->rx_valid = 1;
        for (const char byte : bytes) {
            chip_->rx_payload = static_cast<std::uint8_t>(byte);
            step();
        }
        chip_->rx_valid = 0;
        for (silent_ = 0; silent_ < patience_ || chip_->running;) step();
        return received_;
    }

   private:
    void step() {
        ++silent_;
        if (chip_->tx_valid) {
            received_.push_back(static_cast<char>(chip_->tx_payload));
            silent_ = 0;
        }
        tick();
    }

    void tick() {
        chip_->clk = 0;
        chip_->eval();
        chip_->clk = 1;
        chip_->eval();
    }

    const std::unique_ptr<Vtop> chip_ = std::make_unique<Vtop>("");
    const std::uint64_t patience_;
    std::uint64_t silent_ = 0;
    std::string received_;
};

}  // namespace

int main(int, char** argv) {
    Pipe pipe(std::atoll(argv[1]));
    for (std::size_t length; std::scanf("%zu", &length) == 1;) {
        std::getchar();
        std::string batch(length, '\0');
        if (std::fread(&batch[0], 1, length, stdin) != length) return 1;
        const std::string answer = pipe.exchange(batch);
        std::printf("%zu\n", answer.size());
        std::fwrite(answer.data(), 1, answer.size(), stdout);
        std::fflush(stdout);
    }
    return 0;
}
