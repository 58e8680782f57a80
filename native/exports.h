#pragma once

#include <napi.h>

namespace reuseport {

/** Puts a function on `exports` under the name it has in src/native.ts, where the contract of each is written. */
template <auto function>
void define(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<function>(exports.Env(), name));
}

void exportDescriptors(Napi::Object exports);
void exportSockets(Napi::Object exports);
void exportChannel(Napi::Object exports);
void exportSteering(Napi::Object exports);
void exportUpgrade(Napi::Object exports);
void exportProcess(Napi::Object exports);
void exportIdentity(Napi::Object exports);
void exportNetwork(Napi::Object exports);
void exportPoller(Napi::Object exports);
void exportPulse(Napi::Object exports);
void exportHeap(Napi::Object exports);

}  // namespace reuseport
