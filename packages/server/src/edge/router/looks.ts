// Looks at what takes too long. A router that was held up itself must not blame clients or instances for it: what came meanwhile is read before anybody is judged.

/** Calls `look` every `period` ms, but not at once after this process was held up for longer. Keeps no process alive; `clearInterval` ends it. */
export function lookEvery(period: number, look: () => void): NodeJS.Timeout {
  let before = performance.now();
  let isPutOff = false;
  return setInterval(() => {
    const now = performance.now();
    // Once, since a process that has too much to do is always late.
    isPutOff = !isPutOff && now - before > 2 * period;
    before = now;
    if (!isPutOff) look();
  }, period).unref();
}
