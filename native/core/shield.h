#pragma once

namespace reuseport {

/**
 * Signals wait from here on, in the calling thread, which must be the main one: blocked there, and what another thread takes is passed on to
 * it. What waits there survives execve(2). What has been taken before is where its handler has put it.
 */
void raiseShield();

/** They come again, those that waited first. Also in an image that was executed behind the shield. */
void lowerShield();

}  // namespace reuseport
