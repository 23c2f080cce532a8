// All that is asked of a builder, of Buildah, which takes some minutes.
import { builderTests } from "../testing/builder-tests.ts";
import { featureTests } from "../testing/feature-tests.ts";

builderTests({ buildah: "all" });
featureTests({ buildah: "all" });
