// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The OpenLPU authors
//
// Operands through one of several Verilated units of the VXM, a row every cycle.
//
// The arguments are the number of the unit, and of the cycles from its operands to its result. Standard input is rows of three 32-bit words in the
// machine's byte order: x, y, control. Standard output is one word for each: what stands at `o` that many edges later.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Row {
    std::uint32_t x, y, control;
};

std::vector<Row> read_rows() {
    std::vector<Row> rows;
    std::size_t count = 0;
    do {
        rows.resize(count + (1 << 16));
        count += std::fread(rows.data() + count, sizeof(Row), rows.size() - count, stdin);
    } while (count == rows.size());
    rows.resize(count);
    return rows;
}

}  // namespace

int main(int, char** argv) {
    const unsigned number = std::stoul(argv[1]);
    const std::size_t latency = std::stoul(argv[2]);
    const std::vector<Row> rows = read_rows();
    std::vector<std::uint32_t> results(rows.size());
    const auto units = std::make_unique<Vtop>("");
    units->unit = number;
    for (std::size_t cycle = 0; cycle < rows.size() + latency; ++cycle) {
        const Row row = cycle < rows.size() ? rows[cycle] : Row{};
        units->x = row.x;
        units->y = row.y;
        units->control = row.control;
        units->clk = 0;
        units->eval();
        // The result of the row of `latency` edges ago stands there before this cycle's edge.
        if (cycle >= latency) results[cycle - latency] = units->o;
        units->clk = 1;
        units->eval();
    }
    units->final();
    return std::fwrite(results.data(), sizeof(results[0]), results.size(), stdout) == results.size() ? 0 : 1;
}
