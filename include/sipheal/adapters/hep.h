// SPDX-License-Identifier: Apache-2.0
// A HEP receiver: media servers send it a copy of every SIP message they see, and it folds them
// into dialog state as they arrive, so that at a crash the dialogs are there without a query to
// anybody.
//
// It takes HEP3 over UDP and TCP, from agents that it was told about. Each instance has a fold of
// its own, fed only by that instance's own agent: two instances that talk to each other share
// Call-ID and tags, and each side must stay its own dialog.
//
// HEP over UDP has neither acknowledgement nor sequence numbers, so what a fetch gives is
// kBestEffort: a message may be missing, and nothing proves otherwise.
//
// Threads: Start() starts one that receives, and, with a store, one that writes; a slow or dead
// store never stalls receiving. Every method may be called from any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/base/telemetry_sink.h"
#include "sipheal/export.h"
#include "sipheal/session_store.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/hep_packet.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1 {

// One media server whose HEP is taken.
struct HepInstanceOptions {
  std::string instance;  // the instance's name, as everywhere in sipheal
  // Its SIP addresses. With no `agents` of its own, those below are taken.
  sip::ServerIdentity server;
  // What its packets bear: the agent name (chunk 0x13; Asterisk's capture_name) or the agent id as
  // decimal text (chunk 0x0c; capture_id). At least one; each belongs to one instance only.
  std::vector<std::string> agents;
  // Where its packets may come from: addresses or networks, "192.0.2.7", "10.0.0.0/8". Empty: from
  // anywhere, which only a private network or an auth key makes safe.
  std::vector<std::string> allowed_sources;
};

struct HepOptions {
  // Where to listen; none: not over that transport. Port 0 takes a free one, see udp_address().
  std::optional<sip::Endpoint> udp;
  std::optional<sip::Endpoint> tcp;
  std::vector<HepInstanceOptions> instances;
  // What every packet must bear in chunk 0x0e. It travels in the clear: it keeps out the careless,
  // not who can listen. Empty: none is asked for. Or, better, auth_key_file.
  std::string auth_key;
  std::string auth_key_file;  // read once when made; its last newline is dropped
  // Asked of the kernel for the UDP socket, so that a stall of the receiver loses nothing. 64 KiB
  // to 1 GiB; the kernel may grant less (net.core.rmem_max), see HepStats::receive_buffer_bytes.
  std::size_t receive_buffer_bytes = 64 << 20;
  std::size_t max_tcp_connections = 256;
  // Limits of each instance's fold.
  sip::RebuildOptions rebuild;
  // A call that ended keeps its state this long after its newest message: 64*T1 and the skew of the
  // agents' clocks, 32 s or more. Then a tombstone of it stays for tombstone_ttl, so that a late
  // message does not raise it.
  std::chrono::seconds ended_linger{36};
  std::chrono::seconds tombstone_ttl{300};

  // Confirmed dialogs are written here, and read back at Start. None: they live in memory only.
  std::shared_ptr<SessionStore> store;
  // A change is written at the latest this much after it was seen. 10 ms to 1 s.
  std::chrono::milliseconds write_behind{250};
  std::chrono::milliseconds store_timeout{5000};  // of one write, before it is tried again
  // Records that are older are of no call any more: they are removed from the store at Start.
  std::chrono::hours stored_max_age{24 * 7};

  std::shared_ptr<LogSink> log;              // none: silent
  std::shared_ptr<TelemetrySink> telemetry;  // none: dropped
  const Clock* clock = nullptr;              // none: the system's; must outlive the receiver

  // Every packet that is accepted is sent on to this HEP server (HOMER's heplify-server) over UDP,
  // unchanged, the auth key included. A server that captures to sipheal has no second address to
  // capture to, and so its calls stand in HOMER whole, the recovery's re-INVITE and its answer,
  // which the new server captures, among them. Never waits: what cannot be sent is dropped.
  std::optional<sip::Endpoint> forward;
};

// Counts since the receiver was made, unless said otherwise.
struct HepInstanceStats {
  std::string instance;
  std::uint64_t packets = 0;   // accepted from its agent, SIP or not
  std::uint64_t messages = 0;  // SIP messages in them
  std::uint64_t folded = 0;    // that were new evidence
  std::uint64_t duplicates = 0;
  std::uint64_t not_ours = 0;    // touched none of the server's addresses or agents
  std::uint64_t ignored = 0;     // of no INVITE dialog
  std::uint64_t malformed = 0;   // no SIP to be believed
  std::uint64_t tombstoned = 0;  // late, of a dialog that had ended
  std::uint64_t limited = 0;     // refused by a limit
  std::size_t calls = 0;         // tracked now
  std::size_t tombstones = 0;    // now
  std::size_t bytes = 0;         // held now
  // The time that the agent wrote into its newest SIP packet, minus the time of its arrival by the
  // clock here: the difference of the clocks, less the way. Empty while there was none.
  std::optional<std::chrono::microseconds> clock_offset;
};

struct HepStats {
  std::uint64_t packets = 0;  // datagrams and packets of streams, good or bad
  std::uint64_t bytes = 0;
  std::uint64_t kernel_dropped = 0;  // datagrams that found the receive buffer full
  std::array<std::uint64_t, sip::kHepErrorCount> refused{};  // by HepError
  std::uint64_t unknown_agent = 0;
  std::uint64_t wrong_source = 0;  // a known agent from an address that is not its own
  std::uint64_t wrong_key = 0;
  std::uint64_t not_sip = 0;  // accepted, but RTCP, logs, ...
  std::uint64_t tcp_connections = 0;
  std::uint64_t tcp_refused = 0;  // above max_tcp_connections, or of no allowed source
  std::uint64_t store_written = 0;
  std::uint64_t store_removed = 0;
  std::uint64_t store_errors = 0;
  std::uint64_t store_skipped = 0;  // changes not written: backlog full, above 64 KiB, refused
  std::size_t store_backlog = 0;    // calls that wait to be written now
  std::size_t receive_buffer_bytes = 0;
  std::vector<HepInstanceStats> instances;
  std::uint64_t forwarded = 0;      // sent on to HepOptions::forward
  std::uint64_t not_forwarded = 0;  // could not be
};

// Unavailable before Start and after Stop. FetchParams::since and until change nothing: what is
// given is the state after every message that had arrived when Fetch was called, those in the
// kernel's buffer included.
class SIPHEAL_EXPORT HepReceiver : public SipCapture {
 public:
  ~HepReceiver() override;

  // Opens the sockets, reads the store, starts the threads. Unavailable when an address cannot be
  // bound; a store that does not answer is tried again in the background. Once only.
  virtual absl::Status Start() = 0;
  // Writes what is pending (for at most store_timeout), ends the threads, closes the sockets.
  // Idempotent.
  virtual void Stop() = 0;

  // The bound addresses with their real ports; empty before Start and where none was asked for.
  virtual sip::Endpoint udp_address() const = 0;
  virtual sip::Endpoint tcp_address() const = 0;

  // Instances come and go at run time. InvalidArgument, AlreadyExists, NotFound. What was known of
  // a removed instance is forgotten here; the store keeps it.
  virtual absl::Status AddInstance(HepInstanceOptions instance) = 0;
  virtual absl::Status RemoveInstance(const std::string& instance) = 0;
  // Drops what is known of these calls of that instance, here and in the store: the host has ended
  // them for good.
  virtual void Forget(const std::string& instance, const std::vector<std::string>& call_ids) = 0;

  // When a packet of that instance's agent last arrived; empty: never. Never waits for receiving.
  virtual std::optional<MonotonicTime> LastHeard(const std::string& instance) const = 0;
  virtual HepStats Stats() const = 0;
  // Waits until every change seen before the call is in the store.
  virtual absl::Status Flush(const CallContext& ctx) = 0;

 protected:
  HepReceiver() = default;
};

// InvalidArgument names the wrong option.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<HepReceiver>> MakeHepReceiver(HepOptions options);

}  // namespace sipheal::inline v0_1
