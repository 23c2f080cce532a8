// Sources and Compose files of strangers, of a size that fits a quick test; input.long.test.ts has the largest that are taken.
import { describeInput } from "./input.ts";

describeInput({ file: 160 * 1024 ** 2, files: 20_000 });
