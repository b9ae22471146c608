import { conformance } from "./conformance.ts";
import { embeddedHarness } from "./harnesses.ts";

conformance("embedded store", embeddedHarness);
