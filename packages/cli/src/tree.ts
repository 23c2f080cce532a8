// The commands by noun and verb, and the daily verbs that stand alone.
import type { Command } from "./command.ts";

export interface Registry {
  readonly commands: readonly Command[];
  /** In the order in which help lists them. */
  readonly nouns: readonly string[];
  readonly daily: ReadonlyMap<string, Command>;
  readonly verbs: (noun: string) => readonly string[];
  readonly find: (path: readonly string[]) => Command | undefined;
}

export function registryOf(commands: readonly Command[], dailyOrder: readonly string[]): Registry {
  const byNoun = new Map<string, Map<string, Command>>();
  const daily = new Map<string, Command>();
  for (const command of commands) {
    const [first = "", second] = command.path;
    if (second === undefined) daily.set(first, command);
    else byNoun.set(first, (byNoun.get(first) ?? new Map<string, Command>()).set(second, command));
    if (command.daily !== undefined) daily.set(command.daily, command);
  }
  return {
    commands,
    nouns: [...byNoun.keys()],
    daily: new Map([...daily].sort(([a], [b]) => place(dailyOrder, a) - place(dailyOrder, b))),
    verbs: (noun) => [...(byNoun.get(noun)?.keys() ?? [])],
    find: ([first = "", second]) => (second === undefined ? daily.get(first) : byNoun.get(first)?.get(second)),
  };
}

function place(order: readonly string[], name: string): number {
  const at = order.indexOf(name);
  return at === -1 ? order.length : at;
}
