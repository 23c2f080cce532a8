// Secrets and caches of steps, by the builders that know them; Buildah's slower ones are in buildah.long.test.ts.
import { featureTests } from "../testing/feature-tests.ts";

featureTests({ buildkit: "all", buildah: "first" });
