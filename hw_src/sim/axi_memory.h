// The external memory behind the accelerator's AXI4 ports: DDR with a latency, a bandwidth in all
// and per DDR port, random backpressure, bounds, and faults on demand.
//
// Ports 0 .. read_ports - 1 have the channels AR and R, port read_ports has AW, W and B; in order,
// no IDs, beats of 16 bytes. Each cycle: `drive` sets what the accelerator sees, the model settles,
// `sample` takes the handshakes of the clock edge that follows.
//
//   latency     cycles from a burst's acceptance to its first beat; from the last W beat to B
//   bandwidth   bytes per cycle, as token buckets in 1/256 byte: one over all ports, and one for each
//               group of ports that shares a port of the DDR controller (HP1 and HP2 on a ZCU102)
//   bounds      a beat outside the mapped memories reads zeros, writes nothing and answers DECERR
//   writes      become visible with their B response, not before
//   order       a write's data are taken before, with or after its address; with backpressure, the
//               memory at random insists on one of these orders for the next burst, as AXI lets it
//   faults      on a channel of a port after so many handshakes: one SLVERR or DECERR, or silence
//
// What the accelerator may not do on AXI (a burst across 4 KiB, a valid withdrawn, a wrong wlast) is
// kept as `violation`, the first one in words.
#ifndef QUASAR_SIM_AXI_MEMORY_H
#define QUASAR_SIM_AXI_MEMORY_H

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "bits.h"

constexpr unsigned BEAT = 16;   // bytes of a beat: PORT_BITS / 8
constexpr unsigned GROUPS = 4;  // ports of the DDR controller
enum Response : unsigned { OKAY = 0, SLVERR = 2, DECERR = 3 };
enum Channel : unsigned { AR, R, AW, W, B, CHANNELS };

struct MemoryConfig {
    uint32_t read_ports;
    uint32_t latency;
    uint32_t bandwidth;        // 1/256 byte per cycle, over all ports
    uint32_t group_bandwidth;  // 1/256 byte per cycle, over the ports of a group
    uint32_t outstanding;      // bursts that a port accepts before the first is answered
    uint32_t backpressure;     // of 256: how often a handshake is withheld for a cycle
    uint32_t group[8];         // of each read port, then of the write port
    uint64_t seed;
};

class Random {  // xorshift64*
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
    // True with a probability of `part` / 256.
    bool chance(uint32_t part) {
        if (part == 0) return false;
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return ((state_ * 0x2545F4914F6CDD1Dull) >> 56) < part;
    }

private:
    uint64_t state_;
};

// Tokens that fill with `rate` a cycle; a bucket holds two beats more than its rate.
class Bucket {
public:
    explicit Bucket(uint32_t rate = 0) : rate_(rate), level_(0) {}
    void fill() {
        level_ += rate_;
        const uint32_t most = rate_ + 2 * BEAT * 256;
        if (level_ > most) level_ = most;
    }
    bool has() const { return level_ >= BEAT * 256; }
    void take() { level_ -= BEAT * 256; }

private:
    uint32_t rate_, level_;
};

// What an armed fault does to a channel: nothing while `after` handshakes remain.
struct Fault {
    bool armed = false;
    uint64_t after = 0;
    Response response = OKAY;  // OKAY: the channel falls silent for ever
    bool silent() const { return armed && response == OKAY && after == 0; }
    // Counts a handshake; the response that this one gets in place of `normal`.
    Response count(Response normal) {
        if (!armed) return normal;
        if (after > 0) {
            after--;
            return normal;
        }
        if (response == OKAY) return normal;
        armed = false;
        return response;
    }
};

struct Burst {
    uint64_t address;
    unsigned beats;     // left
    uint64_t ready_at;  // cycle of the first beat, or of B
    Response response;
    std::vector<uint8_t> bytes, strobes;  // writes: kept until B
};

class Memory {
public:
    explicit Memory(const MemoryConfig& config)
        : config_(config), random_(config.seed), total_(config.bandwidth), reads_(config.read_ports) {
        for (auto& g : groups_) g = Bucket(config.group_bandwidth);
    }

    void map(uint64_t address, uint8_t* bytes, uint64_t size) {
        regions_.push_back({address, size, bytes});
    }
    bool unmap(uint64_t address) {
        for (auto r = regions_.begin(); r != regions_.end(); ++r)
            if (r->address == address) {
                regions_.erase(r);
                return true;
            }
        return false;
    }

    // After a hardware reset: nothing outstanding. Armed faults stay.
    void reset() {
        for (auto& r : reads_) r = ReadPort();
        write_ = WritePort();
    }
    void arm(unsigned port, unsigned channel, uint64_t after, unsigned response) {
        faults_[port & 7][channel % CHANNELS] = {true, after, static_cast<Response>(response)};
    }
    void disarm() {
        for (auto& port : faults_)
            for (auto& fault : port) fault = Fault();
    }
    uint64_t bytes_moved(unsigned port) const {
        return port < reads_.size() ? reads_[port].beats * BEAT : write_.beats * BEAT;
    }
    const std::string& violation() const { return violation_; }

    // Set the accelerator's inputs for cycle `now`.
    template <class Top>
    void drive(Top& top, uint64_t now) {
        total_.fill();
        for (auto& g : groups_) g.fill();
        const unsigned ports = static_cast<unsigned>(reads_.size());
        drive_write(top, now);
        // The port that goes first rotates, so that a short bucket is shared evenly.
        for (unsigned i = 0, p = now % ports; i < ports; i++, p = p + 1 == ports ? 0 : p + 1)
            drive_read(top, p, now);
    }

    // Take the handshakes that happen at the clock edge which ends cycle `now`.
    template <class Top>
    void sample(Top& top, uint64_t now) {
        for (unsigned p = 0; p < reads_.size(); p++) sample_read(top, p, now);
        sample_write(top, now);
    }

private:
    struct Region {
        uint64_t address, size;
        uint8_t* bytes;
    };
    struct Offer {  // a payload whose valid was seen without ready: it must stay
        bool pending = false;
        uint64_t a = 0, b = 0, c = 0;
        bool operator==(const Offer& o) const { return a == o.a && b == o.b && c == o.c; }
    };
    struct ReadPort {
        std::deque<Burst> bursts;
        bool ar_ready = false, r_valid = false;
        uint64_t beats = 0;
        Offer ar;
    };
    struct Beat {
        uint64_t words[2];
        unsigned strobes;
        bool last;
    };
    // What the memory insists on for a burst's address (AW) and data (W).
    enum Order { ANY, ADDRESS_FIRST, DATA_FIRST };
    struct WritePort {
        std::deque<Burst> bursts, answers;  // accepted addresses; complete bursts that wait for B
        std::deque<Beat> early;             // of the burst whose address is yet to come
        Order order = ANY;                  // for the next burst
        bool aw_ready = false, w_ready = false, b_valid = false;
        uint64_t beats = 0;
        Offer aw, w;
        bool early_complete() const { return !early.empty() && early.back().last; }
    };

    Bucket& group(unsigned port) { return groups_[config_.group[port & 7] % GROUPS]; }
    bool withheld() { return random_.chance(config_.backpressure); }

    uint8_t* find(uint64_t address, uint64_t size) {
        for (const auto& r : regions_)
            if (r.address <= address && address + size <= r.address + r.size)
                return r.bytes + (address - r.address);
        return nullptr;
    }

    void violate(const char* what, unsigned port, uint64_t now, uint64_t address) {
        if (!violation_.empty()) return;
        char text[160];
        std::snprintf(text, sizeof text, "%s (port %u, cycle %llu, address 0x%llx)", what, port,
                      static_cast<unsigned long long>(now), static_cast<unsigned long long>(address));
        violation_ = text;
    }

    // AXI's rule for all channels: once valid, an offer stays as it is until it is taken.
    void check_offer(Offer& last, bool valid, bool ready, const Offer& offer, const char* what,
                     unsigned port, uint64_t now) {
        if (last.pending && !(valid && last == offer)) violate(what, port, now, last.a);
        last = offer;
        last.pending = valid && !ready;
    }

    Burst check_burst(const char* kind, unsigned port, uint64_t now, uint64_t address,
                      unsigned length, unsigned size, unsigned type) {
        const unsigned beats = length + 1;
        if (size != 4 || type != 1) violate("a burst is not INCR of 16-byte beats", port, now, address);
        if (address % BEAT) violate("a burst's address is not a multiple of 16", port, now, address);
        if (address / 4096 != (address + beats * BEAT - 1) / 4096) violate(kind, port, now, address);
        return {address, beats, now + config_.latency, OKAY, {}, {}};
    }

    template <class Top>
    void drive_read(Top& top, unsigned p, uint64_t now) {
        ReadPort& port = reads_[p];
        auto& faults = faults_[p];
        port.ar_ready = port.bursts.size() < config_.outstanding && !faults[AR].silent() && !withheld();
        set(top.m_axi_arready, p, 1, port.ar_ready);
        if (port.r_valid) return;  // an offer stays as it is
        set(top.m_axi_rvalid, p, 1, 0);
        if (port.bursts.empty() || port.bursts.front().ready_at > now) return;
        if (faults[R].silent() || !total_.has() || !group(p).has() || withheld()) return;
        total_.take();
        group(p).take();
        const Burst& burst = port.bursts.front();
        uint64_t words[2] = {0, 0};
        const uint8_t* bytes = find(burst.address, BEAT);
        if (bytes) std::memcpy(words, bytes, BEAT);
        set(top.m_axi_rdata, p * 128, 64, words[0]);
        set(top.m_axi_rdata, p * 128 + 64, 64, words[1]);
        set(top.m_axi_rresp, p * 2, 2, faults[R].count(bytes ? OKAY : DECERR));
        set(top.m_axi_rlast, p, 1, burst.beats == 1);
        set(top.m_axi_rvalid, p, 1, 1);
        port.r_valid = true;
    }

    template <class Top>
    void sample_read(Top& top, unsigned p, uint64_t now) {
        ReadPort& port = reads_[p];
        if (port.r_valid && get(top.m_axi_rready, p, 1)) {
            port.r_valid = false;
            port.beats++;
            Burst& burst = port.bursts.front();
            burst.address += BEAT;
            if (--burst.beats == 0) port.bursts.pop_front();
        }
        const bool valid = get(top.m_axi_arvalid, p, 1) != 0;
        if (!valid && !port.ar.pending) return;
        Offer offer;
        offer.a = get(top.m_axi_araddr, p * 64, 64);
        offer.b = get(top.m_axi_arlen, p * 8, 8);
        check_offer(port.ar, valid, port.ar_ready, offer, "AR changed before arready", p, now);
        if (!valid || !port.ar_ready) return;
        faults_[p][AR].count(OKAY);
        port.bursts.push_back(check_burst("a read burst crosses 4 KiB", p, now, offer.a,
                                          static_cast<unsigned>(offer.b),
                                          static_cast<unsigned>(get(top.m_axi_arsize, p * 3, 3)),
                                          static_cast<unsigned>(get(top.m_axi_arburst, p * 2, 2))));
    }

    template <class Top>
    void drive_write(Top& top, uint64_t now) {
        const unsigned p = static_cast<unsigned>(reads_.size());
        WritePort& port = write_;
        auto& faults = faults_[p];
        const bool address = port.order != DATA_FIRST || port.early_complete();
        port.aw_ready = address && port.bursts.size() + port.answers.size() < config_.outstanding &&
                        !faults[AW].silent() && !withheld();
        set(top.m_axi_awready, 0, 1, port.aw_ready);
        const bool data =
            !port.bursts.empty() || (port.order != ADDRESS_FIRST && !port.early_complete());
        port.w_ready =
            data && !faults[W].silent() && total_.has() && group(p).has() && !withheld();
        set(top.m_axi_wready, 0, 1, port.w_ready);
        if (port.b_valid) return;
        set(top.m_axi_bvalid, 0, 1, 0);
        if (port.answers.empty() || port.answers.front().ready_at > now) return;
        if (faults[B].silent() || withheld()) return;
        const Response response = faults[B].count(commit(port.answers.front()));
        set(top.m_axi_bresp, 0, 2, response);
        set(top.m_axi_bvalid, 0, 1, 1);
        port.b_valid = true;
    }

    // Write a burst's strobed bytes; DECERR when one lies outside the mapped memories.
    Response commit(const Burst& burst) {
        Response response = OKAY;
        const uint64_t first = burst.address;
        for (std::size_t i = 0; i < burst.bytes.size(); i++) {
            if (!burst.strobes[i]) continue;
            uint8_t* byte = find(first + i, 1);
            if (byte)
                *byte = burst.bytes[i];
            else
                response = DECERR;
        }
        return response;
    }

    template <class Top>
    void sample_write(Top& top, uint64_t now) {
        const unsigned p = static_cast<unsigned>(reads_.size());
        WritePort& port = write_;
        if (port.b_valid && get(top.m_axi_bready, 0, 1)) {
            port.b_valid = false;
            port.answers.pop_front();
        }
        sample_w(top, p, now);
        sample_aw(top, p, now);
        while (!port.bursts.empty() && !port.early.empty()) {
            take_beat(p, now, port.early.front());
            port.early.pop_front();
        }
    }

    template <class Top>
    void sample_aw(Top& top, unsigned p, uint64_t now) {
        WritePort& port = write_;
        const bool valid = get(top.m_axi_awvalid, 0, 1) != 0;
        if (!valid && !port.aw.pending) return;
        Offer offer;
        offer.a = get(top.m_axi_awaddr, 0, 64);
        offer.b = get(top.m_axi_awlen, 0, 8);
        check_offer(port.aw, valid, port.aw_ready, offer, "AW changed before awready", p, now);
        if (!valid || !port.aw_ready) return;
        faults_[p][AW].count(OKAY);
        port.bursts.push_back(check_burst("a write burst crosses 4 KiB", p, now, offer.a,
                                          static_cast<unsigned>(offer.b),
                                          static_cast<unsigned>(get(top.m_axi_awsize, 0, 3)),
                                          static_cast<unsigned>(get(top.m_axi_awburst, 0, 2))));
        port.order = !withheld() ? ANY : random_.chance(128) ? ADDRESS_FIRST : DATA_FIRST;
    }

    template <class Top>
    void sample_w(Top& top, unsigned p, uint64_t now) {
        WritePort& port = write_;
        const bool valid = get(top.m_axi_wvalid, 0, 1) != 0;
        if (!valid && !port.w.pending) return;
        Offer offer;
        offer.a = get(top.m_axi_wdata, 0, 64);
        offer.b = get(top.m_axi_wdata, 64, 64);
        offer.c = get(top.m_axi_wstrb, 0, BEAT) << 1 | get(top.m_axi_wlast, 0, 1);
        check_offer(port.w, valid, port.w_ready, offer, "W changed before wready", p, now);
        if (!valid || !port.w_ready) return;
        faults_[p][W].count(OKAY);
        total_.take();
        group(p).take();
        port.beats++;
        const Beat beat = {{offer.a, offer.b}, static_cast<unsigned>(offer.c >> 1), (offer.c & 1) != 0};
        if (port.bursts.empty())
            port.early.push_back(beat);
        else
            take_beat(p, now, beat);
    }

    // A beat of the oldest burst whose address is known and whose data are not complete.
    void take_beat(unsigned p, uint64_t now, const Beat& beat) {
        WritePort& port = write_;
        Burst& burst = port.bursts.front();
        const auto* bytes = reinterpret_cast<const uint8_t*>(beat.words);
        burst.bytes.insert(burst.bytes.end(), bytes, bytes + BEAT);
        for (unsigned i = 0; i < BEAT; i++) burst.strobes.push_back((beat.strobes >> i) & 1);
        const bool last = --burst.beats == 0;
        if (last != beat.last)
            violate("wlast is not at the burst's last beat", p, now, burst.address);
        if (!last) return;
        burst.ready_at = now + config_.latency;
        port.answers.push_back(std::move(burst));
        port.bursts.pop_front();
    }

    MemoryConfig config_;
    Random random_;
    Bucket total_, groups_[GROUPS];
    std::vector<ReadPort> reads_;
    WritePort write_;
    std::vector<Region> regions_;
    Fault faults_[8][CHANNELS];
    std::string violation_;
};

#endif
