// Hostile input to every route, a little of it; hostile.long.test.ts has much.
import { describeHostileInput } from "../../test/hostile.ts";

describeHostileInput(4);
