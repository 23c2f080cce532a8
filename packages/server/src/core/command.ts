// Commands of users as what is executed. Pure.
import type { Command } from "@berth/contract/spec.ts";

/** The words of a program; a line is a shell's. */
export function argumentsOf(command: Command): readonly string[] {
  return "exec" in command ? command.exec : ["/bin/sh", "-c", command.shell];
}
