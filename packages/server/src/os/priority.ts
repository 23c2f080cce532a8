// What people wait for goes before what works for them. The kernel shares the CPU out between sessions first (sched(7), "The autogroup feature") and between control
// groups; niceness of a process counts only among those of its own.
import { writeFileSync } from "node:fs";

/** -10: nine times the share of an ordinary session while it has something to do, and its turn comes sooner; 10: a tenth. */
export type Niceness = -10 | 10;

/** Shares the CPU out to the session that this process leads. Only root may prefer one, and only some kernels can: elsewhere everything is as it was. */
export function niceSession(pid: number | undefined, niceness: Niceness): void {
  if (pid === undefined) return;
  try {
    writeFileSync(`/proc/${String(pid)}/autogroup`, String(niceness));
  } catch {
    // No such feature, no right, another user's write less than 100 ms ago, or the process has ended: whoever started it learns of that by other means.
  }
}
