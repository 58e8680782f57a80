#pragma once

#include <dirent.h>

/** How many descriptors this process has open. */
inline int openFiles() {
  DIR* directory = ::opendir("/proc/self/fd");
  int count = 0;
  while (const dirent* entry = ::readdir(directory)) count += entry->d_name[0] != '.';
  ::closedir(directory);
  return count - 1;
}
