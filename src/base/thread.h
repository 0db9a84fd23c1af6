// SPDX-License-Identifier: Apache-2.0
// Starts a thread that takes no signal meant for the host, and that has a name in debuggers.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

namespace sipheal::inline v0_1::internal {

// `name`: at most 15 characters.
template <typename Function>
std::thread StartThread(const char* name, Function function) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace sipheal::inline v0_1::internal
