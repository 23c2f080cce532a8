// The processes of an instance's current run: who they are, what they use, how all of them are ended, and what later commands join.
import type { Group, GroupTrouble } from "../../sandbox/cgroups.ts";
import { isAlive, statOf, type ProcessStat } from "../../os/process.ts";
import type { Beside } from "./launch.ts";
import type { Machine } from "./machine.ts";
import { signalAll, usageOf, type TreeUsage } from "./procfs.ts";
import type { State } from "./record.ts";

export class Run {
  readonly #machine: Machine;
  readonly #instance: string;
  readonly #state: Readonly<State>;

  constructor(machine: Machine, instance: string, state: Readonly<State>) {
    this.#machine = machine;
    this.#instance = instance;
    this.#state = state;
  }

  get group(): Group | undefined {
    return this.#state.group === undefined ? undefined : this.#machine.groups?.of(this.#state.group);
  }

  members(): ProcessStat[] {
    return this.#machine.processes().membersOf(this.#state.program, this.#instance, this.group?.members());
  }

  /** SIGKILL to all of it; what is about to begin is refused where the machine can. */
  kill(): void {
    const members = this.members();
    if (members.length === 0) return;
    this.group?.shut();
    signalAll(members, "SIGKILL");
  }

  /** Without the sandbox's own first process and bubblewrap. */
  usage(): TreeUsage {
    const { group } = this;
    const aside =
      this.#state.sandboxed === true && this.#state.program !== undefined
        ? new Set([this.#state.program.pid, statOf(this.#state.program.pid)?.parent])
        : new Set<number | undefined>();
    if (group === undefined) return usageOf(this.members().filter((one) => !aside.has(one.pid)));
    const { cpuSeconds, memory, processes } = group.usage();
    return { cpuSeconds, memory, processes: processes.filter((pid) => !aside.has(pid)).length };
  }

  /** What a command beside the program joins. */
  beside(): Beside {
    const { group } = this;
    const { program, sandboxed } = this.#state;
    return {
      ...(sandboxed === true && program !== undefined && isAlive(program) ? { sandbox: program } : {}),
      ...(group === undefined ? {} : { group }),
    };
  }

  /** What the kernel had to refuse or end in it. */
  trouble(): GroupTrouble | undefined {
    return this.group?.trouble();
  }

  /** It has ended and so has everything it started. */
  close(): void {
    if (this.#state.group !== undefined) this.#machine.groups?.end(this.#state.group);
  }
}
