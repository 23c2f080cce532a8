// The options that many commands share, and which command takes which.
import { longName, type Command, type Completes } from "./command.ts";

export interface GlobalOption {
  readonly flags: string;
  readonly summary: string;
  readonly completes?: Completes;
  /** Whether the command takes it; `hidden` = takes it, and help does not speak of it. */
  readonly on: (command: Command) => boolean | "hidden";
}

export const globalOptions: readonly GlobalOption[] = [
  {
    flags: "-s, --stack <name>",
    summary: "the stack (or BERTH_STACK, or .berth.json)",
    completes: "stack",
    on: (command) => command.scope !== "none",
  },
  {
    flags: "-c, --component <name>",
    summary: "the component (or BERTH_COMPONENT, or .berth.json)",
    completes: "component",
    on: (command) => command.scope === "component",
  },
  { flags: "--json", summary: "print exactly the API's objects", on: () => true },
  { flags: "--no-wait", summary: "do not follow the work until its end", on: (command) => (command.waits === true ? true : "hidden") },
  {
    flags: "--timeout <duration>",
    summary: "give up waiting after this long (exit code 5)",
    on: (command) => (command.waits === true ? true : "hidden"),
  },
  { flags: "-y, --yes", summary: "answer every question with yes", on: (command) => (command.asks === true ? true : "hidden") },
  { flags: "-q, --quiet", summary: "no progress and no notes", on: () => true },
  { flags: "--server <url>", summary: "the server (or BERTH_SERVER)", on: () => true },
  { flags: "--token <token>", summary: "the token (or BERTH_TOKEN)", on: () => true },
  { flags: "--no-color", summary: "no colours (or NO_COLOR)", on: () => true },
  { flags: "--lang <language>", summary: "the language of messages (or BERTH_LANG)", completes: ["en"], on: () => true },
];

/** Every spelling of a global option, and whether a value follows it. */
export const globalSpellings: ReadonlyMap<string, boolean> = new Map(
  globalOptions.flatMap(({ flags }) => {
    const takesValue = flags.includes("<");
    const short = /^-[a-z]\b/.exec(flags)?.[0];
    return [[longName(flags), takesValue] as const, ...(short === undefined ? [] : [[short, takesValue] as const])];
  }),
);
