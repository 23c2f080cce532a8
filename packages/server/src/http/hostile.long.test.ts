// Hostile input to every route, much of it.
import { describeHostileInput } from "../../test/hostile.ts";

describeHostileInput(150);
