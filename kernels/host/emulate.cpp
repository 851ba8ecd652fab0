// Runs a kernel's blocks on the host; see cuda.h. Linux.
//
//   acf_host_launch   one kernel; 0 or a message
//   acf_host_take     memory between two pages that nobody may touch
//   acf_host_traffic  what the last launch moved by 16-byte accesses

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#include "cuda.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

extern char __start_acf_shared[] __attribute__((weak));
extern char __stop_acf_shared[] __attribute__((weak));

namespace acf {
namespace host {
namespace {

constexpr std::size_t kStack = 256 * 1024, kPage = 4096;
constexpr unsigned char kRubbish = 0xff;  // a NaN in FP16 and FP32
constexpr int kSector = 32, kWarp = 32;

enum class State { kReady, kBarrier, kWarpWait, kDone };

struct Fiber {
    ucontext_t context;
    State state;
    dim3 index;
    unsigned int mask, posted[2];  // posted alternates: a fast lane does not overtake a slow one
    unsigned int turn, accesses;
};

struct Request {  // what a warp asks for at once
    std::set<std::uint64_t> sectors;
    std::uint64_t bytes = 0;
};

struct Run {
    const Kernel* kernel = nullptr;
    void** arguments = nullptr;
    std::vector<Fiber> fibers;
    std::vector<char*> stacks;
    std::vector<unsigned char> shared;
    ucontext_t home;
    int current = -1;
    std::map<std::tuple<int, unsigned int, bool>, Request> requests;  // of a block
    std::uint64_t bytes[2] = {0, 0}, moved[2] = {0, 0};               // read, written
};

Run run;
sigjmp_buf way_out;
char message[512];

Fiber& self() { return run.fibers[run.current]; }

void give_way(State state) {
    Fiber& fiber = self();
    fiber.state = state;
    swapcontext(&fiber.context, &run.home);
}

void main_of_fiber() {
    run.kernel->call(run.arguments);
    give_way(State::kDone);
}

void on_signal(int signal, siginfo_t* info, void*) {
    const char* what = signal == SIGILL ? "undefined behaviour (misaligned access, overflow, index)"
                       : signal == SIGFPE ? "a division by zero"
                                          : "an access outside its buffers";
    std::snprintf(message, sizeof(message),
                  "%s: %s at %p by thread (%u, %u, %u) of block (%u, %u, %u)", run.kernel->name,
                  what, info->si_addr, threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x,
                  blockIdx.y, blockIdx.z);
    siglongjmp(way_out, 1);
}

// While it lives, faults of a kernel end the launch and not the process.
struct Signals {
    static constexpr int kinds[4] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction before[4];
    stack_t stack_before;
    std::vector<char> stack = std::vector<char>(64 * 1024);

    Signals() {
        stack_t own = {};
        own.ss_sp = stack.data();
        own.ss_size = stack.size();
        sigaltstack(&own, &stack_before);
        struct sigaction action = {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (int i = 0; i < 4; ++i) sigaction(kinds[i], &action, &before[i]);
    }
    ~Signals() {
        for (int i = 0; i < 4; ++i) sigaction(kinds[i], &before[i], nullptr);
        sigaltstack(&stack_before, nullptr);
    }
};

constexpr int Signals::kinds[4];

char* stack_of(std::size_t number) {
    while (run.stacks.size() <= number) {
        void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) fail("no memory for stacks");
        mprotect(memory, kPage, PROT_NONE);
        run.stacks.push_back(static_cast<char*>(memory));
    }
    return run.stacks[number];
}

std::vector<int> order_of(int count, int order, std::mt19937& random) {
    std::vector<int> result(count);
    for (int i = 0; i < count; ++i) result[i] = order == 1 ? count - 1 - i : i;
    if (order > 1)
        for (int i = count - 1; i > 0; --i)
            std::swap(result[i], result[random() % static_cast<unsigned>(i + 1)]);
    return result;
}

// The lanes that `mask` names wait for each other: when the last has come, all go on.
bool release_warps(int threads) {
    bool any = false;
    for (int first = 0; first < threads; first += kWarp) {
        for (int lane = 0; lane < kWarp && first + lane < threads; ++lane) {
            Fiber& fiber = run.fibers[first + lane];
            if (fiber.state != State::kWarpWait) continue;
            bool all = true;
            for (int other = 0; other < kWarp; ++other) {
                if (!(fiber.mask >> other & 1)) continue;
                if (first + other >= threads) fail("a mask names lanes that the block lacks");
                const Fiber& peer = run.fibers[first + other];
                if (peer.state == State::kDone) fail("a mask names a lane that has ended");
                all = all && peer.state == State::kWarpWait && peer.mask == fiber.mask;
            }
            if (!all) continue;
            for (int other = 0; other < kWarp; ++other)
                if (fiber.mask >> other & 1) run.fibers[first + other].state = State::kReady;
            any = true;
        }
    }
    return any;
}

void count_traffic() {
    for (const auto& entry : run.requests) {
        const bool writes = std::get<2>(entry.first);
        run.bytes[writes] += entry.second.bytes;
        run.moved[writes] += entry.second.sectors.size() * kSector;
    }
    run.requests.clear();
}

void run_block(int threads, int order, std::mt19937& random) {
    if (__start_acf_shared)
        std::memset(__start_acf_shared, kRubbish, __stop_acf_shared - __start_acf_shared);
    if (!run.shared.empty()) std::memset(run.shared.data(), kRubbish, run.shared.size());
    for (int i = 0; i < threads; ++i) {
        Fiber& fiber = run.fibers[i];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stack_of(i);
        fiber.context.uc_stack.ss_size = kStack;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, main_of_fiber, 0);
        fiber.state = State::kReady;
        fiber.turn = fiber.accesses = 0;
        const unsigned int t = i;
        fiber.index =
            dim3{t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
    }
    // One warp runs when nobody else can: whoever has to wait for it had better do so.
    const int warps = (threads + kWarp - 1) / kWarp;
    const int slow = order == 0 ? -1 : order == 1 ? 0 : static_cast<int>(random() % warps);
    bool others = true;
    for (;;) {
        bool ran = false;
        int waiting = 0, done = 0;
        for (int i : order_of(threads, order, random)) {
            Fiber& fiber = run.fibers[i];
            if (fiber.state == State::kReady && (i / kWarp != slow || !others)) {
                run.current = i;
                threadIdx = fiber.index;
                swapcontext(&run.home, &fiber.context);
                ran = true;
            }
            waiting += fiber.state == State::kBarrier;
            done += fiber.state == State::kDone;
        }
        if (done == threads) break;
        if (release_warps(threads) || ran) {
            others = true;
            continue;
        }
        if (others && slow >= 0) {
            others = false;
            continue;
        }
        if (waiting + done < threads) fail("a shuffle that some lanes of its mask do not reach");
        if (done > 0) fail("a barrier that some threads do not reach");
        for (int i = 0; i < threads; ++i) run.fibers[i].state = State::kReady;
        others = true;
    }
    count_traffic();
}

}  // namespace

void fail(const char* what) {
    std::snprintf(message, sizeof(message), "%s: %s in block (%u, %u, %u)", run.kernel->name, what,
                  blockIdx.x, blockIdx.y, blockIdx.z);
    siglongjmp(way_out, 1);
}

void* dynamic_shared() { return run.shared.data(); }

void touch(const void* at, int bytes, bool writes) {
    Request& request = run.requests[{run.current / kWarp, self().accesses++, writes}];
    const auto address = reinterpret_cast<std::uint64_t>(at);
    request.bytes += bytes;
    for (std::uint64_t a = address / kSector; a <= (address + bytes - 1) / kSector; ++a)
        request.sectors.insert(a);
}

void barrier() { give_way(State::kBarrier); }

unsigned int exchange(unsigned int mask, unsigned int word, int source) {
    Fiber& fiber = self();
    const unsigned int turn = fiber.turn++;
    if (!(mask >> (run.current % kWarp) & 1)) fail("a lane that its own mask does not name");
    fiber.posted[turn % 2] = word;
    fiber.mask = mask;
    give_way(State::kWarpWait);
    const int first = run.current / kWarp * kWarp;
    if (!(mask >> source & 1)) fail("a shuffle from a lane that the mask does not name");
    return run.fibers[first + source].posted[turn % 2];
}

unsigned int ballot(unsigned int mask, bool vote) {
    unsigned int result = 0;
    for (int lane = 0; lane < kWarp; ++lane)
        if (mask >> lane & 1) result |= exchange(mask, vote, lane) << lane;
    return result;
}

}  // namespace host
}  // namespace acf

using acf::host::run;

// order: 0 threads and blocks ascend, 1 descend, others are seeds of an order; but for 0, one warp
// of each block lags behind as far as barriers allow. only: run this block
// alone (x, y, z), or null. sizes: bytes of each argument. text: where a message goes. Returns 0,
// or 1 with the message.
extern "C" int acf_host_launch_block(const char* name, const unsigned int* grid,
                                     const unsigned int* block, const unsigned int* only,
                                     void** arguments, const int* sizes, int count, int shared,
                                     int order, char* text, int capacity) {
    using namespace acf::host;
    run.kernel = nullptr;
    for (int i = 0; i < kernel_count; ++i)
        if (!std::strcmp(kernels[i].name, name)) run.kernel = &kernels[i];
    auto refuse = [&](const std::string& why) {
        std::snprintf(text, capacity, "%s: %s", name, why.c_str());
        return 1;
    };
    if (!run.kernel) return refuse("no such kernel");
    if (run.kernel->count != count)
        return refuse("takes " + std::to_string(run.kernel->count) + " arguments, not " +
                      std::to_string(count));
    for (int i = 0; i < count; ++i)
        if (run.kernel->sizes[i] != sizes[i])
            return refuse("argument " + std::to_string(i) + " has " +
                          std::to_string(run.kernel->sizes[i]) + " bytes, not " +
                          std::to_string(sizes[i]));
    const unsigned long long threads = 1ull * block[0] * block[1] * block[2];
    if (!threads || threads > 1024 || block[2] > 64)
        return refuse("a block of a size that no GPU has");
    if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffffu || grid[1] > 65535 ||
        grid[2] > 65535)
        return refuse("a grid of a size that no GPU has");
    blockDim = dim3{block[0], block[1], block[2]};
    gridDim = dim3{grid[0], grid[1], grid[2]};
    run.arguments = arguments;
    run.fibers.resize(threads);
    run.shared.assign(shared, 0);
    run.requests.clear();
    run.bytes[0] = run.bytes[1] = run.moved[0] = run.moved[1] = 0;
    Signals signals;
    if (sigsetjmp(way_out, 1)) {
        std::snprintf(text, capacity, "%s", message);
        return 1;
    }
    std::mt19937 random(order);
    if (only) {
        blockIdx = dim3{only[0], only[1], only[2]};
        run_block(static_cast<int>(threads), order, random);
        return 0;
    }
    for (int i : order_of(static_cast<int>(grid[0] * grid[1] * grid[2]), order, random)) {
        const unsigned int b = i;
        blockIdx = dim3{b % grid[0], b / grid[0] % grid[1], b / (grid[0] * grid[1])};
        run_block(static_cast<int>(threads), order, random);
    }
    return 0;
}

// All blocks.
extern "C" int acf_host_launch(const char* name, const unsigned int* grid,
                               const unsigned int* block, void** arguments, const int* sizes,
                               int count, int shared, int order, char* text, int capacity) {
    return acf_host_launch_block(name, grid, block, nullptr, arguments, sizes, count, shared, order,
                                 text, capacity);
}

// Memory of `whole` bytes from `base` on, for `size` bytes of data that start on 16 bytes plus
// `skew` and (but for what that needs) begin or end beside a page that faults. All of it is
// rubbish.
extern "C" char* acf_host_take(long long size, int skew, int front, char** base, long long* whole) {
    using acf::host::kPage;
    const long long inner = (size + 32 + kPage - 1) / kPage * kPage;
    *whole = inner + 2 * kPage;
    void* memory =
        mmap(nullptr, *whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    *base = static_cast<char*>(memory);
    std::memset(*base, acf::host::kRubbish, *whole);
    mprotect(*base, kPage, PROT_NONE);
    mprotect(*base + kPage + inner, kPage, PROT_NONE);
    return *base + kPage + (front ? skew : (inner - size - skew) / 16 * 16 + skew);
}

// Bytes around the data that are no longer what they were.
extern "C" long long acf_host_spoilt(const char* base, long long whole, const char* data,
                                     long long size) {
    using acf::host::kPage;
    long long changed = 0;
    for (const char* at = base + kPage; at < base + whole - kPage; ++at)
        if ((at < data || at >= data + size) &&
            static_cast<unsigned char>(*at) != acf::host::kRubbish)
            ++changed;
    return changed;
}

extern "C" void acf_host_give_back(char* base, long long whole) { munmap(base, whole); }

// Bytes asked for and bytes of the 32-byte sectors they lie in, for reads and then for writes.
extern "C" void acf_host_traffic(unsigned long long* result) {
    for (int i = 0; i < 2; ++i) {
        result[2 * i] = run.bytes[i];
        result[2 * i + 1] = run.moved[i];
    }
}
