// Sources and Compose files of strangers, and the largest that are taken: a file of 1 GB, 100,000 entries (of which 100 are folders).
import { describeInput } from "./input.ts";

describeInput({ file: 1024 ** 3, files: 99_900 });
