// SPDX-License-Identifier: Apache-2.0
// SharedMediaServers: one MediaServerDriver for several controllers in one process, each of which
// can be cut off as if its process had been killed.
//
//   testing::SharedMediaServers shared(servers);
//   auto mine = shared.Attach();  // HealerParts::driver of one controller
//   ...
//   mine->Cut();  // nothing it still says reaches a server, and it hears nothing any more
#pragma once

#include <atomic>
#include <memory>

#include "sipheal/export.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::testing {

// Thread-safe.
class SIPHEAL_EXPORT SharedMediaServers {
 public:
  // What one controller sees of the servers. Every event goes to every controller that has started;
  // each knows its own channels.
  class SIPHEAL_EXPORT Attached final : public MediaServerDriver {
   public:
    ~Attached() override;
    // From now on every method is Unavailable without effect; what is under way in one goes on.
    void Cut();

    // --- MediaServerDriver ---
    absl::Status Start(std::shared_ptr<MediaServerListener> listener) override;
    void Stop() override;
    absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                           const InspectParams& params) override;
    absl::Status Create(const CallContext& ctx, const CreateParams& params) override;
    absl::StatusOr<ChannelState> Find(const CallContext& ctx, const ChannelParams& params) override;
    absl::Status HangUp(const CallContext& ctx, const ChannelParams& params) override;
    absl::Status GiveUp(const CallContext& ctx, const GiveUpParams& params) override;

   private:
    friend class SharedMediaServers;
    class Events;
    Attached(std::shared_ptr<MediaServerDriver> servers, std::shared_ptr<Events> events);
    absl::Status Check() const;

    const std::shared_ptr<MediaServerDriver> servers_;
    const std::shared_ptr<Events> events_;
    std::atomic<bool> cut_{false};
  };

  // Starts `servers`, which must not be started, and stops it at the end.
  explicit SharedMediaServers(std::shared_ptr<MediaServerDriver> servers);
  ~SharedMediaServers();
  SharedMediaServers(const SharedMediaServers&) = delete;
  SharedMediaServers& operator=(const SharedMediaServers&) = delete;

  std::shared_ptr<Attached> Attach();

 private:
  const std::shared_ptr<MediaServerDriver> servers_;
  const std::shared_ptr<Attached::Events> events_;
};

}  // namespace sipheal::inline v0_1::testing
