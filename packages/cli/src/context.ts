// What a command's `run` is given: the server, the stack and component that are meant, and where to speak.
import type { Client } from "@berth/contract/client.ts";
import type { Surroundings } from "./config.ts";
import { Failure, UsageError, exitCodes } from "./failure.ts";
import type { Output } from "./output/output.ts";
import { asName, guessStack } from "./project.ts";
import type { Keyboard, Prompt } from "./prompt.ts";
import type { Say } from "./text/say.ts";

/** The options that every command understands, with what stands in for them. */
export interface Settings {
  readonly serverUrl: string;
  readonly token: string | undefined;
  /** The token came with the command line or the environment, not from a login. */
  readonly tokenGiven: boolean;
  /** From -s, BERTH_STACK or .berth.json. */
  readonly stack: string | undefined;
  /** The stack was named for this run, not by .berth.json. */
  readonly stackGiven: boolean;
  readonly component: string | undefined;
  /** Answer every question with yes. */
  readonly yes: boolean;
  /** Follow the work until its end. */
  readonly wait: boolean;
  /** ms until the command gives up waiting. */
  readonly timeout: number | undefined;
}

export interface ContextParts {
  readonly out: Output;
  readonly say: Say;
  readonly settings: Settings;
  readonly surroundings: Surroundings;
  readonly prompt: Prompt;
  readonly stdin: Keyboard;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

export class Context {
  readonly out: Output;
  readonly say: Say;
  readonly settings: Settings;
  readonly surroundings: Surroundings;
  readonly prompt: Prompt;
  readonly stdin: Keyboard;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  /** Where the stack's name came from when nobody named it. */
  guessedFrom: string | undefined;
  /** How to go on watching the work that goes on after Ctrl-C or --timeout. */
  watch: string | undefined;
  readonly #parts: ContextParts;
  #client: Promise<Client> | undefined;

  constructor(parts: ContextParts) {
    this.#parts = parts;
    this.out = parts.out;
    this.say = parts.say;
    this.settings = parts.settings;
    this.surroundings = parts.surroundings;
    this.prompt = parts.prompt;
    this.stdin = parts.stdin;
    this.cwd = parts.cwd;
    this.signal = parts.signal;
    this.now = parts.now;
  }

  /** The same run, speaking to another server without a token. */
  withServer(serverUrl: string): Context {
    return new Context({ ...this.#parts, settings: { ...this.settings, serverUrl, token: undefined, tokenGiven: false } });
  }

  /** The client; loaded when it is first needed, because help and completion must be quick. */
  api(): Promise<Client> {
    this.#client ??= this.clientWith(this.settings.token);
    return this.#client;
  }

  async clientWith(token: string | undefined): Promise<Client> {
    const { createClient } = await import("@berth/contract/client.ts");
    const debug = this.surroundings.variable("BERTH_DEBUG");
    return createClient({
      baseUrl: this.settings.serverUrl,
      token,
      ...(debug === undefined || debug === ""
        ? {}
        : {
            onRequest: ({ method, url, attempt }) => {
              this.out.err(`${method} ${url}${attempt > 1 ? ` (attempt ${attempt})` : ""}\n`);
            },
          }),
    });
  }

  /** The stack that is meant: -s, BERTH_STACK, .berth.json, this folder's Compose file, or the only one there is. */
  async stack(): Promise<string> {
    const { settings, say } = this;
    if (settings.stack !== undefined) return settings.stack;
    const guess = await guessStack(this.cwd, this.surroundings.variable);
    if (guess.compose) return this.#guessed(guess.stack, guess.origin);
    const { items } = await (await this.api()).listStacks({ query: { limit: 500 } }, { signal: this.signal });
    const names = items.map((item) => item.name);
    if (names.includes(asName(guess.stack))) return this.#guessed(guess.stack, guess.origin);
    if (names.length === 1 && names[0] !== undefined) {
      this.out.note(say("using_only_stack", { stack: names[0] }));
      return names[0];
    }
    throw names.length === 0
      ? new UsageError(say("no_stack"), say("no_stack_none"))
      : new UsageError(say("no_stack"), say("no_stack_next"), [say("stacks_are", { names: names.join(", ") })]);
  }

  #guessed(stack: string, origin: string): string {
    this.guessedFrom = origin;
    return stack;
  }

  /** The component that is meant: named, -c, BERTH_COMPONENT, .berth.json, or the only one of its stack. */
  async component(stack: string, named?: string): Promise<string> {
    const given = named ?? this.settings.component;
    if (given !== undefined) return given;
    const { items } = await (await this.api()).listComponents({ params: { stack }, query: { limit: 500 } }, { signal: this.signal });
    const names = items.map((item) => item.name);
    if (names.length === 1 && names[0] !== undefined) return names[0];
    const { say } = this;
    throw names.length === 0
      ? new UsageError(say("no_component", { stack }), say("no_component_none", { stack }))
      : new UsageError(say("no_component", { stack }), say("no_component_next", { first: names[0] ?? "" }), [
          say("components_are", { names: names.join(", ") }),
        ]);
  }

  /** Both, as a route's params. */
  async inComponent(named?: string): Promise<{ readonly stack: string; readonly component: string }> {
    const stack = await this.stack();
    return { stack, component: await this.component(stack, named) };
  }

  /** Asks before something is taken away; fails where nobody can be asked and --yes was not given. */
  async confirm(what: string, question: string): Promise<void> {
    const answer = await this.#asked(what, this.say("confirm", { question }));
    if (answer !== undefined && !/^y(es)?$/i.test(answer)) throw new Failure(exitCodes.failed, this.say("not_confirmed"));
  }

  /** The same before something that nothing brings back: a habit types `y`, nobody types a name by habit. */
  async confirmByName(what: string, question: string, name: string): Promise<void> {
    const answer = await this.#asked(what, this.say("confirm_by_name", { question, name }));
    if (answer !== undefined && answer !== name) throw new Failure(exitCodes.failed, this.say("not_confirmed"));
  }

  /** What was typed; undefined when --yes answers. */
  async #asked(what: string, question: string): Promise<string | undefined> {
    const { say } = this;
    if (this.settings.yes) return undefined;
    if (!this.prompt.possible) throw new Failure(exitCodes.usage, say("needs_yes", { what }), { next: say("needs_yes_next") });
    return (await this.prompt.ask(question, this.signal)).trim();
  }
}
