// schemathesis for a quarter of an hour, with requests that use what earlier ones made.
import { describeSchemathesis } from "./schemathesis.ts";

describeSchemathesis({ seconds: { admin: 600, reader: 120, nobody: 120 }, examples: 200, phases: "examples,coverage,fuzzing,stateful" });
