// Children are found beside the entry file; this is the real router.
import "../../router/main.ts";
