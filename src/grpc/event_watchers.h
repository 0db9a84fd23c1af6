// SPDX-License-Identifier: Apache-2.0
// EventWatchers: the streams of WatchEvents, and the thread that hands them what is new.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "grpc/event_ring.h"
#include "sipheal/v1/recovery.pb.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class EventWatchers {
 public:
  EventWatchers(std::size_t keep, std::string run, int most);
  ~EventWatchers();

  // Never waits for a watcher.
  void Publish(v1::WatchEventsResponse event);
  grpc::ServerWriteReactor<v1::WatchEventsResponse>* Watch(const v1::WatchEventsRequest& request);
  // Ends all streams with UNAVAILABLE; later ones end so at once.
  void Stop();

 private:
  class Watcher;
  friend class Watcher;

  void Pump();
  void Forget(const std::shared_ptr<Watcher>& watcher);

  EventRing ring_;
  const int most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool news_ = false;                            // mutex_
  bool stopping_ = false;                        // mutex_
  std::set<std::shared_ptr<Watcher>> watchers_;  // mutex_
  std::thread thread_;
};

}  // namespace sipheal::inline v0_1::internal
