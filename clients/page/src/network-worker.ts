// The network worker of the page: the package's own, on a network that the page can hold still.
//
// Must be two files: what is imported first patches what the second one finds.

import "./held-network.ts";
import "../../typescript/src/network/worker.ts";
