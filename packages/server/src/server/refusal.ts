// Why a server cannot start here, for the terminal: a sentence and what to do. Never for bugs, whose stack somebody needs.

export class StartRefused extends Error {
  readonly hint: string;
  constructor(sentence: string, hint: string, options: { cause?: unknown } = {}) {
    super(sentence, options);
    this.name = "StartRefused";
    this.hint = hint;
  }
}

/** The same for what the file system refuses: the home belongs to somebody else, is read-only, or full. undefined = something else. */
export function fromFileSystem(error: unknown, home: string): StartRefused | undefined {
  const { code, path, syscall, dest } = error as NodeJS.ErrnoException & { dest?: string };
  // A copy or a link names its source first.
  const what = dest ?? path ?? home;
  switch (code) {
    case "EACCES":
    case "EPERM":
      // A signal to somebody else's process has no path.
      return syscall === "kill"
        ? new StartRefused("That server belongs to another user, and you may not end it.", "Run this as the user who started it.")
        : new StartRefused(
            `${what} may not be used by this user.`,
            "Run Berth as the user whom the home folder belongs to, or choose another home with BERTH_HOME (an ordinary user's is ~/.berth).",
          );
    case "EROFS":
      return new StartRefused(`${what} is on a file system that is read-only.`, "Choose a home that can be written with BERTH_HOME.");
    case "ENOSPC":
    case "EDQUOT":
      return new StartRefused(
        `The disk or the quota of ${what} is full.`,
        "Free some space, or choose another home with BERTH_HOME; nothing that was accepted is lost.",
      );
    case "ENOTDIR":
    case "EEXIST":
      return new StartRefused(`${what} is not a folder, or lies below something that is none.`, "Choose another home with BERTH_HOME.");
    default:
      return undefined;
  }
}
