// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// The host of a Verilated chip without a simulator around it: a loop that toggles the clock.
//
// The argument is the number of cycles from the address of a host read to its data. Requests come as lines on standard
// input; words are hexadecimal, other numbers decimal.
//
//     m SLICE ADDRESS WORD    write a word of SRAM
//     r SLICE ADDRESS         read a word of SRAM; answers WORD
//     t QUEUE ADDRESS WORD    write a word of a queue's text
//     g LIMIT RERUNS          run, and so many times more; answers CYCLES FAULT QUEUE CYCLE ILLEGAL FAULTS CORRECTED
//                             UNCORRECTABLE, or nothing but a dot after LIMIT cycles

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "Vtop.h"
#include "verilated.h"

namespace {

template <typename Port>
void put(Port& port, const std::string& hex) {
    port = static_cast<Port>(std::stoull(hex, nullptr, 16));
}

template <std::size_t Words>
void put(VlWide<Words>& port, const std::string& hex) {
    const std::string digits = std::string(8 * Words, '0') + hex;
    for (std::size_t i = 0; i < Words; ++i)
        port[i] = static_cast<EData>(std::stoul(digits.substr(digits.size() - 8 * (i + 1), 8), nullptr, 16));
}

template <typename Port>
void show(const Port& port) {
    std::printf("%llx\n", static_cast<unsigned long long>(port));
}

template <std::size_t Words>
void show(const VlWide<Words>& port) {
    for (std::size_t i = Words; i-- > 0;) std::printf("%08x", port[i]);
    std::printf("\n");
}

// Vectors with errors since the reset: of a chip with ECC, and of one without.
template <typename Chip>
auto corrected(const Chip& chip, int) -> decltype(chip.ecc_corrected) {
    return chip.ecc_corrected;
}

template <typename Chip>
IData corrected(const Chip&, long) {
    return 0;
}

template <typename Chip>
auto uncorrectable(const Chip& chip, int) -> decltype(chip.ecc_uncorrectable) {
    return chip.ecc_uncorrectable;
}

template <typename Chip>
IData uncorrectable(const Chip&, long) {
    return 0;
}

void tick(Vtop& chip) {
    chip.clk = 0;
    chip.eval();
    chip.clk = 1;
    chip.eval();
}

void run(Vtop& chip, std::uint64_t limit, std::uint64_t reruns) {
    const IData corrected_before = corrected(chip, 0), uncorrectable_before = uncorrectable(chip, 0);
    chip.host_reruns = reruns;
    chip.host_start = 1;
    tick(chip);
    chip.host_start = 0;
    tick(chip);
    while (chip.running && limit-- > 0) tick(chip);
    if (chip.running)
        std::printf(".\n");
    else
        std::printf("%u %u %u %u %u %u %u %u\n", chip.cycles, chip.fault, chip.fault_queue, chip.fault_cycle,
                    chip.fault_illegal, chip.faults, corrected(chip, 0) - corrected_before,
                    uncorrectable(chip, 0) - uncorrectable_before);
}

}  // namespace

int main(int, char** argv) {
    const unsigned read_latency = std::stoul(argv[1]);
    const auto model = std::make_unique<Vtop>("");
    Vtop& chip = *model;
    chip.rst = 1;
    tick(chip);
    tick(chip);
    chip.rst = 0;

    char request;
    while (std::cin >> request) {
        std::uint64_t place = 0, address = 0;
        std::string word;
        std::cin >> place >> address;
        if (request == 'm' || request == 't') std::cin >> word;
        switch (request) {
            case 'm':
            case 'r':
                chip.host_mem_en = 1;
                chip.host_mem_we = request == 'm';
                chip.host_mem_slice = place;
                chip.host_mem_addr = address;
                if (request == 'm') put(chip.host_wdata, word);
                tick(chip);
                chip.host_mem_en = 0;
                if (request == 'r') {
                    for (unsigned i = 1; i < read_latency; ++i) tick(chip);
                    show(chip.host_mem_rdata);
                }
                break;
            case 't':
                chip.host_imem_we = 1;
                chip.host_imem_queue = place;
                chip.host_imem_addr = address;
                put(chip.host_wdata, word);
                tick(chip);
                chip.host_imem_we = 0;
                break;
            case 'g':
                run(chip, place, address);
                break;
        }
        std::fflush(stdout);
    }
    model->final();
    return 0;
}
