// The accelerator's Verilated model behind a C interface that steps many cycles a call.
//
// A cycle: the memory and the register bus drive their side, the clock is low and the model settles,
// the handshakes are taken, the clock rises. Python drives the registers and looks at irq between
// calls, as a board's driver does. Built with TRACE_FST or TRACE_VCD it records a window of cycles.
#include <cstdint>
#include <memory>
#include <string>

#include "Vquasar.h"
#include "axi_memory.h"
#include "stops.h"
#include "verilated.h"
#if defined(TRACE_FST)
#include "verilated_fst_c.h"
using TraceFile = VerilatedFstC;
#elif defined(TRACE_VCD)
#include "verilated_vcd_c.h"
using TraceFile = VerilatedVcdC;
#endif

namespace {

constexpr int NO_ANSWER = -1, BROKEN = -2;
constexpr uint64_t BUS_LIMIT = 4096;  // cycles in which a register access must be answered

// One AXI4-Lite access at a time; address and data may be offered in either order.
struct Bus {
    bool aw = false, w = false, ar = false, b = false, r = false;  // valids and readies we hold
    bool wait_aw = false, wait_w = false;                           // not yet offered
    uint32_t address = 0, data = 0;
    int response = NO_ANSWER;
    bool busy = false, writing = false;
};

class Simulation {
public:
    explicit Simulation(const MemoryConfig& config)
        : memory_(config), random_(config.seed ^ 0x5155), backpressure_(config.backpressure) {
        context_.randReset(2);  // in builds with x-initial unique: memories start as noise
        context_.randSeed(static_cast<int>(config.seed % 0x7FFFFFFF) + 1);
        top_ = std::make_unique<Vquasar>(&context_);
        reset(16);
    }
    ~Simulation() { top_->final(); }

    Memory& memory() { return memory_; }
    uint64_t cycle() const { return cycle_; }
    bool irq() const { return top_->irq_o != 0; }
    const char* message() {
        if (message_.empty()) message_ = memory_.violation();
        return message_.c_str();
    }
    void fail(const char* what) {
        if (message_.empty()) message_ = what;
        broken_ = true;
    }
    bool broken() const { return broken_; }

    // Hold rst_i for some cycles; what was outstanding on every bus is forgotten. Assertions sleep:
    // before the first reset the registers hold anything.
    void reset(uint64_t cycles) {
        memory_.reset();
        bus_ = Bus();
        context_.assertOn(false);
        top_->rst_i = 1;
        for (uint64_t i = 0; i < cycles; i++) step();
        top_->rst_i = 0;
        context_.assertOn(true);
        memory_.reset();
        step();
    }

    // Step until irq or for `cycles`; the cycles that went by.
    uint64_t run(uint64_t cycles) {
        const uint64_t begin = cycle_;
        while (cycle_ - begin < cycles && !irq()) step();
        return cycle_ - begin;
    }

    // Write or read a register; the response, or NO_ANSWER.
    int access(bool writing, uint32_t address, uint32_t* data) {
        bus_ = Bus();
        bus_.busy = true;
        bus_.writing = writing;
        bus_.address = address;
        bus_.data = *data;
        bus_.wait_aw = bus_.wait_w = true;
        for (uint64_t i = 0; bus_.busy && i < BUS_LIMIT; i++) step();
        const bool late = bus_.busy;
        *data = bus_.data;
        const int response = late ? NO_ANSWER : bus_.response;
        bus_ = Bus();
        return response;
    }

    // Record the cycles [begin, end), counted from now. Cycle c lies at c ns of the file's time, its
    // rising edge half a nanosecond later, so that a viewer's time axis counts cycles.
    int trace(const char* path, uint64_t begin, uint64_t end) {
#if defined(TRACE_FST) || defined(TRACE_VCD)
        context_.traceEverOn(true);
        trace_ = std::make_unique<TraceFile>();
        trace_->set_time_unit("100ps");
        trace_->set_time_resolution("100ps");
        top_->trace(trace_.get(), 99);
        trace_->open(path);
        trace_zero_ = cycle_;
        trace_begin_ = begin;
        trace_end_ = end;
        return trace_->isOpen() ? 0 : -1;
#else
        (void)path, (void)begin, (void)end;
        return -1;
#endif
    }
    // Complete the file; the cycles that it holds.
    uint64_t close_trace() {
#if defined(TRACE_FST) || defined(TRACE_VCD)
        if (trace_ && trace_->isOpen()) trace_->close();
#endif
        return traced_;
    }

private:
    void step() {
        memory_.drive(*top_, cycle_);
        drive_bus();
        top_->clk_i = 0;
        top_->eval();
        dump(0);
        if (!top_->rst_i) {
            memory_.sample(*top_, cycle_);
            sample_bus();
        }
        top_->clk_i = 1;
        top_->eval();
        dump(1);
        cycle_++;
    }

    void drive_bus() {
        if (bus_.busy) {
            const bool hold = random_.chance(backpressure_);
            if (bus_.writing) {
                if (bus_.wait_aw && !hold) bus_.aw = true, bus_.wait_aw = false;
                if (bus_.wait_w && !random_.chance(backpressure_)) bus_.w = true, bus_.wait_w = false;
                bus_.b = !random_.chance(backpressure_);
            } else {
                if (bus_.wait_aw && !hold) bus_.ar = true, bus_.wait_aw = false;
                bus_.r = !random_.chance(backpressure_);
            }
        }
        top_->s_axil_awvalid = bus_.aw;
        top_->s_axil_awaddr = static_cast<uint8_t>(bus_.address);
        top_->s_axil_wvalid = bus_.w;
        top_->s_axil_wdata = bus_.data;
        top_->s_axil_wstrb = 15;
        top_->s_axil_bready = bus_.busy && bus_.b;
        top_->s_axil_arvalid = bus_.ar;
        top_->s_axil_araddr = static_cast<uint8_t>(bus_.address);
        top_->s_axil_rready = bus_.busy && bus_.r;
    }

    void sample_bus() {
        if (bus_.aw && top_->s_axil_awready) bus_.aw = false;
        if (bus_.w && top_->s_axil_wready) bus_.w = false;
        if (bus_.ar && top_->s_axil_arready) bus_.ar = false;
        if (bus_.busy && bus_.writing && bus_.b && top_->s_axil_bvalid) {
            bus_.response = top_->s_axil_bresp;
            bus_.busy = false;
        }
        if (bus_.busy && !bus_.writing && bus_.r && top_->s_axil_rvalid) {
            bus_.response = top_->s_axil_rresp;
            bus_.data = top_->s_axil_rdata;
            bus_.busy = false;
        }
    }

    void dump(unsigned phase) {
#if defined(TRACE_FST) || defined(TRACE_VCD)
        if (!trace_ || !trace_->isOpen()) return;
        const uint64_t now = cycle_ - trace_zero_;
        if (now < trace_begin_) return;
        if (now >= trace_end_) {
            close_trace();
            return;
        }
        trace_->dump(now * 10 + phase * 5);
        traced_ += phase;
#else
        (void)phase;
#endif
    }

    VerilatedContext context_;
    std::unique_ptr<Vquasar> top_;
    Memory memory_;
    Random random_;
    Bus bus_;
    uint32_t backpressure_;
    uint64_t cycle_ = 0;
    std::string message_;
    bool broken_ = false;
    uint64_t traced_ = 0;
#if defined(TRACE_FST) || defined(TRACE_VCD)
    std::unique_ptr<TraceFile> trace_;
    uint64_t trace_zero_ = 0, trace_begin_ = 0, trace_end_ = 0;
#endif
};

// Run `body` unless an assertion has failed before; BROKEN when one fails.
template <class Body>
int64_t guarded(Simulation* s, Body body) {
    if (s->broken()) return BROKEN;
    try {
        return static_cast<int64_t>(body());
    } catch (const std::exception& e) {
        s->fail(e.what());
        return BROKEN;
    }
}

}  // namespace

extern "C" {

// Null when an assertion fails while the model is built and reset.
Simulation* sim_new(const MemoryConfig* config) {
    try {
        return new Simulation(*config);
    } catch (const std::exception&) {
        return nullptr;
    }
}
void sim_delete(Simulation* s) { delete s; }
void sim_map(Simulation* s, uint64_t address, uint8_t* bytes, uint64_t size) {
    s->memory().map(address, bytes, size);
}
int sim_unmap(Simulation* s, uint64_t address) { return s->memory().unmap(address) ? 0 : -1; }
int64_t sim_write(Simulation* s, uint32_t address, uint32_t value) {
    return guarded(s, [&] { return s->access(true, address, &value); });
}
int64_t sim_read(Simulation* s, uint32_t address, uint32_t* value) {
    return guarded(s, [&] { return s->access(false, address, value); });
}
int64_t sim_run(Simulation* s, uint64_t cycles) {
    return guarded(s, [&] { return s->run(cycles); });
}
int64_t sim_reset(Simulation* s, uint64_t cycles) {
    return guarded(s, [&] {
        s->reset(cycles);
        return 0;
    });
}
int sim_irq(Simulation* s) { return s->irq(); }
uint64_t sim_cycle(Simulation* s) { return s->cycle(); }
uint64_t sim_bytes(Simulation* s, uint32_t port) { return s->memory().bytes_moved(port); }
void sim_fault(Simulation* s, uint32_t port, uint32_t channel, uint64_t after, uint32_t response) {
    s->memory().arm(port, channel, after, response);
}
void sim_clear_faults(Simulation* s) { s->memory().disarm(); }
// An assertion that failed or a rule of AXI that was broken, or an empty string.
const char* sim_message(Simulation* s) { return s->message(); }
int sim_trace(Simulation* s, const char* path, uint64_t begin, uint64_t end) {
    return s->trace(path, begin, end);
}
uint64_t sim_close_trace(Simulation* s) { return s->close_trace(); }
}
