// Types of progress.mjs, which has to be plain JavaScript because the scripts use it before anything is installed.

export interface Step {
  /** Changes the text of the running step. */
  update(text: string): void;
  /** Ends it without a line. */
  drop(): void;
  done(text: string): void;
  fail(text: string): void;
}

export interface Progress {
  line(text: string): void;
  /** A line with a tick. */
  done(text: string): void;
  /** A line with an exclamation mark. */
  note(text: string): void;
  dim(text: string): string;
  bold(text: string): string;
  /** The end of `output`, what failed, and what to do next. */
  failure(text: string, hint: string, output?: string): void;
  /** `quietFor`: ms before the running step is shown at all. */
  step(text: string, options?: { quietFor?: number }): Step;
}

export function seconds(milliseconds: number): string;
export function createProgress(stream: NodeJS.WriteStream): Progress;
