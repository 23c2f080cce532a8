// Image builds by every builder; Buildah's slower ones are in buildah.long.test.ts.
import { builderTests } from "../testing/builder-tests.ts";

builderTests({ docker: "all", buildkit: "all", buildah: "first" });
