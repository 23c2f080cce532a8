// Programs that fail in the ways that programs do, and what has to be told of each.
import { program, type Provocation } from "./provocation.ts";

const web = (more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> => ({ ports: ["3000"], "x-berth": more });
/** Far below the usual deadline, and time enough for a runtime to come up on a machine that does much else. */
const quick = (progressDeadline: string): Readonly<Record<string, unknown>> => ({ strategy: { type: "rolling", progressDeadline } });

/** What any machine can be made to show. */
export const programs: readonly Provocation[] = [
  {
    code: "exited_at_start",
    what: "needs config that nobody set, and ends",
    files: program("const url = process.env.DATABASE_URL;\nif (!url) throw new Error('DATABASE_URL is not set');"),
    says: /exit code 1, [\d.]+ m?s after it started: Error: DATABASE_URL is not set\.$/,
    proof: [/\| Error: DATABASE_URL is not set\n/, /at .*\(server\.js:2:\d+\)/, /- exit code 1 after /],
    next: /berth logs/,
  },
  {
    code: "killed_by_signal",
    what: "is ended by a signal",
    files: program("console.log('about to crash'); process.kill(process.pid, 'SIGSEGV')"),
    says: /ended by SIGSEGV, [\d.]+ m?s after/,
    proof: [/\| about to crash/, /- SIGSEGV after /],
    next: /own crash/,
  },
  {
    code: "exited_zero",
    what: "ends at once as if all were well",
    files: program("console.log('all done')"),
    says: /exit code 0; a web component/,
    proof: [/\| all done/, /- exit code 0/],
    next: /foreground/,
  },
  {
    code: "heap_exhausted",
    what: "needs more memory than its runtime allows",
    files: program("const kept = []; for (;;) kept.push({ n: kept.length, s: String(kept.length) });", {
      ...web(),
      command: ["node", "--max-old-space-size=24", "server.js"],
    }),
    says: /The process needed more memory than its runtime allows it: .*JavaScript heap out of memory/,
    proof: [/heap out of memory/, /- SIG[A-Z]+ after /],
    next: /--max-old-space-size/,
  },
  {
    code: "disk_full",
    what: "finds no space left where it writes",
    files: program("console.log('saving'); require('fs').writeFileSync('/dev/full', 'x');"),
    says: /could not write, because no space is left: .*ENOSPC/,
    proof: [/\| .*ENOSPC: no space left on device/, /- exit code 1/],
    next: /berth doctor/,
  },
  {
    code: "wrong_address",
    what: "listens only where nobody reaches it",
    files: program("require('http').createServer(() => {}).listen(process.env.PORT, '::1')"),
    says: /listens at \[::1\]:(\d+) only, but is reached at 127\.0\.0\.1:\1\.$/,
    proof: [/- it listens on \[::1\]:\d+/, /- readiness: connection refused \(\d+ times in /],
    next: /0\.0\.0\.0/,
  },
  {
    code: "never_ready",
    what: "answers 500 to its probe",
    files: program(
      "require('http').createServer((q, r) => { console.error('no such table: users'); r.statusCode = 500; r.end() }).listen(process.env.PORT)",
      web({ ...quick("15s"), probes: { readiness: { check: { type: "http", path: "/health" }, period: "300ms", timeout: "10s" } } }),
    ),
    says: /never became ready: GET \/health failed \d+ times in [\d.]+ s, the last time with status 500\.$/,
    proof: [/- readiness: status 500 \(\d+ times in /, /\| no such table: users(?: {2}\(\d+ times\))?\n/],
    next: /berth logs.*probe/,
  },
  {
    code: "not_listening",
    what: "is slower than its deadline allows",
    files: program("console.log('warming up'); setTimeout(() => {}, 600_000);", web(quick("15s"))),
    says: /runs but listens on no port; \d+ was expected/,
    proof: [/- it listens on no port/, /\| warming up/],
    next: /startup probe/,
  },
  {
    code: "deadline_exceeded",
    what: "has to be waited for longer than its rollout allows",
    files: program(
      "require('http').createServer(() => {}).listen(process.env.PORT)",
      web({ ...quick("15s"), probes: { readiness: { check: { type: "http", path: "/" }, initialDelay: "90s" } } }),
    ),
    says: /no progress for [\d.]+ s: 0 of 1 instances are ready/,
    proof: [],
    next: /roll back/,
  },
];

/** What needs control groups, or a sandbox that sees what is left behind. */
export const kept: readonly Provocation[] = [
  {
    code: "out_of_memory",
    what: "uses more memory than its limit",
    files: program("const kept = []; setInterval(() => kept.push(Buffer.alloc(8_000_000, 1)), 5);", {
      ...web(),
      deploy: { resources: { limits: { memory: "96M" } } },
    }),
    says: /killed because it used more than its 96 MiB of memory/,
    proof: [/- the kernel ended 1 of its processes; 9\d(\.\d)? MiB/, /- SIGKILL after /],
    next: /deploy\.resources\.limits\.memory/,
  },
  {
    code: "process_limit",
    what: "starts more processes than its limit",
    files: program(
      "",
      { ...web(), deploy: { resources: { limits: { pids: 30 } } }, command: ["sh", "start.sh"] },
      { "start.sh": "i=0; while [ $i -lt 60 ]; do sleep 300 & i=$((i+1)); done; wait" },
    ),
    says: /could not start another process or thread: 30 processes and threads is its limit/,
    proof: [/- the kernel refused to start a process or thread (?:once|\d+ times)/],
    next: /limit of processes/,
  },
  {
    code: "forked_away",
    what: "forks away",
    files: program("require('child_process').spawn('sleep', ['300'], { detached: true, stdio: 'ignore' }).unref()"),
    says: /exit code 0 and left `sleep` running in the background/,
    proof: [/- exit code 0 after /],
    next: /--no-daemon/,
  },
];
