// How Berth starts programs of its own: no debugger that a signal opens, no core dump, which would hold every secret in memory (promise 8), and little memory.
// Pure; what is started inherits both, except that flags are each Node.js process's own.

/**
 * For every Node.js process of Berth that stays. SIGUSR1 would open a debugger, for every user of the machine, on a port of loopback. What a request or a query leaves
 * behind is garbage at once: room for 4 MB of it, instead of 16, saves each process that has worked some 30 MB, and costs less time than can be measured.
 */
export const nodeFlags: readonly string[] = ["--disable-sigusr1", "--max-semi-space-size=4"];

/**
 * For the control plane, whose threads answer and work in bursts. Its nursery has its full size from the start: what a question leaves behind ends there, instead of
 * in the old space, whose collections everybody waits for. That one may grow by as much as it holds before it is collected, and is given back afterwards (os/trim.ts).
 */
export const serverFlags: readonly string[] = ["--min-semi-space-size=4", "--heap-growing-percent=100", "--expose-gc"];

/** For routers, which give back what a crowd of clients left behind once they are quiet (os/trim.ts). */
export const routerFlags: readonly string[] = ["--expose-gc"];

/**
 * For processes whose threads come and go: one heap for all of them. glibc gives each thread one of its own and keeps what the busiest moment needed of every one:
 * 10 to 15 MB in a router, 35 MB in the control plane. It costs no CPU time that could be measured.
 */
export const oneHeap = { MALLOC_ARENA_MAX: "1" } as const;

/**
 * The command, run as a process of Berth's own: without core dumps by itself and by all that it starts, and with one heap. Of the dumps only the soft limit is set,
 * so that a tenant may ask for some of its own; what tenants run gets an environment of its own. The process id is the command's: the shell becomes it.
 */
export function ownProcess(command: string, args: readonly string[]): { readonly command: string; readonly args: string[] } {
  const heap = Object.entries(oneHeap).map((pair) => pair.join("="));
  return { command: "/bin/sh", args: ["-c", `ulimit -S -c 0; export ${heap.join(" ")}; exec "$0" "$@"`, command, ...args] };
}
