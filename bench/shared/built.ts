// Imported first by every benchmark: what is measured is what is shipped. The harness looks for this when it is loaded, so it comes before that.
import { existsSync } from "node:fs";
import { join } from "node:path";

if (existsSync(join(import.meta.dirname, "..", "..", "dist", "server.js"))) process.env["BERTH_TEST_BUILT"] = "1";
