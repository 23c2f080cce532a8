// Everything that reading a Compose file turned up: problems, notes, and what has to be asked for. Collected, never thrown, so that a user sees all of it at once.
import type { NoteCode } from "@berth/contract/notes.ts";
import type { Position } from "./tree.ts";

export interface ComposeProblem {
  readonly code: "compose_invalid" | "compose_refused";
  /** `at` is `:line:column`, or empty when the problem is the file's as a whole. */
  readonly params: {
    readonly file: string;
    readonly line: number;
    readonly column: number;
    readonly at: string;
    readonly key: string;
    readonly component: string;
    readonly reason: string;
    readonly hint: string;
  };
}
/** Something that was understood and has no effect here, or has another one than with Compose. Parameters are strings, as the contract's notes are. */
export interface ComposeNote {
  readonly code: string;
  readonly params: Readonly<Record<string, string>>;
}

export interface Complaint {
  readonly key: string;
  readonly component?: string | undefined;
  readonly reason: string;
  readonly hint?: string | undefined;
}

const mostProblems = 200;

export class Findings {
  readonly neededFiles = new Set<string>();
  readonly neededVariables = new Set<string>();
  readonly #problems = new Map<string, ComposeProblem>();
  readonly #notes = new Map<string, { code: NoteCode; params: Record<string, string>; components: Set<string> }>();

  /** The file contradicts the Compose specification, or itself. */
  invalid(at: Position, complaint: Complaint): void {
    this.#add("compose_invalid", at, complaint);
  }

  /** Compose would do it; Berth does not. */
  refused(at: Position, complaint: Complaint): void {
    this.#add("compose_refused", at, complaint);
  }

  /** Says something once, however many components it concerns: they are listed. */
  note(code: NoteCode, at: Position, component: string, params: Record<string, string>): void {
    const id = JSON.stringify([code, params]);
    const known = this.#notes.get(id);
    if (known !== undefined) known.components.add(component);
    else this.#notes.set(id, { code, params: { ...params, file: at.file, line: String(at.line) }, components: new Set([component]) });
  }

  get problems(): ComposeProblem[] {
    return [...this.#problems.values()];
  }
  get notes(): ComposeNote[] {
    return [...this.#notes.values()].map(({ code, params, components }) => ({
      code,
      params: { ...params, component: [...components].filter((name) => name !== "").join(", ") },
    }));
  }
  get needsMore(): boolean {
    return this.neededFiles.size > 0 || this.neededVariables.size > 0;
  }

  #add(code: ComposeProblem["code"], at: Position, { key, component, reason, hint }: Complaint): void {
    if (this.#problems.size >= mostProblems) return;
    const params = {
      file: at.file,
      line: at.line,
      column: at.column,
      at: at.line === 0 ? "" : `:${at.line}:${at.column}`,
      key,
      component: component ?? "the stack",
      reason,
      hint: hint ?? "",
    };
    const id = JSON.stringify(params);
    if (!this.#problems.has(id)) this.#problems.set(id, { code, params });
  }
}
