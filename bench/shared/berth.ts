// One Berth for a benchmark, ended with everything it started, also when the benchmark is interrupted.
import { TestBerth } from "../../e2e/harness.ts";

export async function withBerth<T>(use: (berth: TestBerth) => Promise<T>): Promise<T> {
  const berth = await TestBerth.start();
  const interrupted = (): void => {
    void berth.stop().finally(() => process.exit(130));
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    return await use(berth);
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    await berth.stop();
  }
}
