{
  "targets": [
    {
      "target_name": "reuseport",
      "sources": [
        "native/addon.cc",
        "native/arguments.cc",
        "native/channel.cc",
        "native/descriptors.cc",
        "native/errors.cc",
        "native/heap.cc",
        "native/identity.cc",
        "native/network.cc",
        "native/poller.cc",
        "native/process.cc",
        "native/pulse.cc",
        "native/sockets.cc",
        "native/steering.cc",
        "native/upgrade.cc",
        "native/core/address.cc",
        "native/core/exec.cc",
        "native/core/identity.cc",
        "native/core/message.cc",
        "native/core/shield.cc",
        "native/core/signals.cc",
        "native/core/spawn.cc",
        "native/core/steering.cc",
        "native/core/tcp_info.cc"
      ],
      "include_dirs": ["native"],
      "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
      "defines": ["NAPI_VERSION=8", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc": ["-std=c++17", "-Wall", "-Wextra", "-fvisibility=hidden"],
      "ldflags": ["-Wl,-z,relro,-z,now"]
    },
    {
      "target_name": "shield",
      "sources": ["native/shield.c"],
      "include_dirs": ["native"],
      "cflags_c": ["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"],
      "ldflags": ["-Wl,-z,relro,-z,now"]
    }
  ]
}
