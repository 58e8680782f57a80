#include <napi.h>

#include "exports.h"

// There is no state beside the Poller and Pulse objects, each of which belongs to the environment that made it, and the signal dispositions behind a
// raised shield, which only the launcher raises: the addon can be loaded by any number of worker threads at the same time. The contract of every export is in src/native.ts.
static Napi::Object initialize(Napi::Env, Napi::Object exports) {
  reuseport::exportDescriptors(exports);
  reuseport::exportSockets(exports);
  reuseport::exportChannel(exports);
  reuseport::exportSteering(exports);
  reuseport::exportProcess(exports);
  reuseport::exportIdentity(exports);
  reuseport::exportNetwork(exports);
  reuseport::exportPoller(exports);
  reuseport::exportPulse(exports);
  reuseport::exportHeap(exports);
  reuseport::exportUpgrade(exports);
  return exports;
}

NODE_API_MODULE(reuseport, initialize)
