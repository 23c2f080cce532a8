// The order of test files: the slow ones first. What begins last is what everybody waits for, and on a fresh checkout nothing knows yet how long a file takes.
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take longer than a minute, the longest first; one that is missing here costs time and nothing else. */
const slow: readonly string[] = [
  "e2e/schemathesis.test.ts",
  "e2e/docker/engine.test.ts",
  "builders/image/builders.docker.test.ts",
  "engines/docker/docker.docker.test.ts",
  "server/kube/rights.cluster.test.ts",
  "e2e/kubernetes/platform.test.ts",
  "e2e/kubernetes/autoscale.test.ts",
  "engines/kubernetes/causes.cluster.test.ts",
  "engines/kubernetes/archives.cluster.test.ts",
  "e2e/kubernetes/adopt.test.ts",
  "e2e/outside.test.ts",
  "e2e/docker/registry.test.ts",
  "builders/bases/make.docker.test.ts",
  "e2e/docker/hosts.test.ts",
  "builders/image/ownfile.docker.test.ts",
  "builders/image/features.docker.test.ts",
  "e2e/docker/diskfull.test.ts",
  "e2e/zero-loss.test.ts",
  "e2e/runtime.test.ts",
  "e2e/automatic-crash.test.ts",
  "e2e/upgrade.test.ts",
  "e2e/clock.test.ts",
  "e2e/crash.test.ts",
];

export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = slow.findIndex((name) => moduleId.endsWith(`/${name}`));
      return at < 0 ? slow.length : at;
    };
    return (await super.sort(files)).toSorted((one, other) => rank(one) - rank(other));
  }
}
