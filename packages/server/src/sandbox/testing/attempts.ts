// What hostile.mjs printed of its attempts, and what has to come of each wherever programs of tenants run (promise 8).

export interface Attempt {
  readonly attempt: string;
  readonly got: string;
}
/** An attempt's name -> what may have come of it. */
export type Expectation = readonly [attempt: RegExp, got: RegExp];

const expected: readonly Expectation[] = [
  [/^(read|list) /, /^(ENOENT|EACCES|EPERM)$/],
  // A link in its own folder leads where it may write itself: nowhere but in its own view.
  [/^(write|link) /, /^(ENOENT|EACCES|EPERM|EXDEV|EROFS|EEXIST)$/],
  [/^connect to /, /^(ENOENT|EACCES|EPERM|ECONNREFUSED)$/],
  [/^find the secret/, /^nothing$/],
  [/^signal everything/, /tried/],
  [/^mount$/, /(not permitted|permission denied|must be superuser)/],
  [/^mount in a user namespace/, /^(?![^]*READ)[^]*$/],
  [/^make a device/, /(not permitted|ermission denied)/],
  [/^become root/, /^(?![^]*ROOT)[^]*$/],
  [/^keep a setuid shell/, /^only itself$/],
  [/^rights/, /^none$/],
  [/^open descriptors/, /^nothing of others$/],
  [/^inherited environment/, /^nothing of Berth$/],
  [/^end$/, /^end$/],
];

/** The attempts among the lines of its output. */
export function attemptsIn(lines: readonly string[]): Attempt[] {
  return lines.flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Attempt] : []));
}

/** Those of which something else came. The first expectation that fits decides, `more` before all others; what none fits is among them too. */
export function strayed(attempts: readonly Attempt[], more: readonly Expectation[] = []): Attempt[] {
  const rules = [...more, ...expected];
  return attempts.filter(({ attempt, got }) => rules.find(([pattern]) => pattern.test(attempt))?.[1].test(got) !== true);
}
