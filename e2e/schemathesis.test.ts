// schemathesis for a minute: every route's schema at its edges, the same each time, so that what fails here was broken by the change at hand.
// schemathesis.long.test.ts goes on for long, with another seed each time, asks as one who may only read, too, and follows what was made from request to request.
import { describeSchemathesis } from "./schemathesis.ts";

describeSchemathesis({ seconds: { admin: 35, nobody: 10 }, examples: 3, phases: "coverage,fuzzing", seed: 1682937806 });
