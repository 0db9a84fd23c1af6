// SPDX-License-Identifier: Apache-2.0
// Snapshots over states that the caller has from before: the same state, in the same memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/sip/dialog_folder.h"
#include "tests/sip/call_script.h"
#include "tests/sip/full_state.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;

sip::DialogFolder Folded(const CallScript& call) {
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  return folder;
}

TEST(SnapshotStorage, NothingOfTheStateBeforeIsLeft) {
  CallScript call;
  call.AnsweredByPeer();
  const sip::DialogFolder folder = Folded(call);
  const std::vector<DialogState> fresh = folder.Snapshot(call.call_id);
  ASSERT_EQ(fresh.size(), 1u);
  for (const std::size_t before : {0u, 1u, 3u}) {
    std::vector<DialogState> used(before, FullState());
    folder.Snapshot(call.call_id, &used);
    EXPECT_TRUE(used == fresh) << before;
  }
  std::vector<DialogState> used(2, FullState());
  folder.Snapshot("of no call", &used);
  EXPECT_TRUE(used.empty());
}

// Where each text and list of the state lies.
std::vector<const void*> MemoryOf(const DialogState& dialog) {
  std::vector<const void*> memory = {
      dialog.call_id.data(),         dialog.local.uri.data(),        dialog.remote.uri.data(),
      dialog.remote_target.data(),   dialog.local_target.data(),     dialog.remote_allow.data(),
      dialog.route_set.data(),       dialog.record_route.data(),     dialog.seen_hosts.data(),
      dialog.local_sdp.media.data(), dialog.remote_sdp.media.data(), dialog.evidence.data()};
  for (const auto* list : {&dialog.route_set, &dialog.record_route}) {
    for (const std::string& text : *list) memory.push_back(text.data());
  }
  for (const sip::SdpMedia& media : dialog.local_sdp.media) memory.push_back(media.rtpmaps.data());
  return memory;
}

TEST(SnapshotStorage, TheMemoryOfTheStateBeforeIsUsed) {
  CallScript call;
  call.AnsweredByPeer();
  const sip::DialogFolder folder = Folded(call);
  std::vector<DialogState> dialogs;
  folder.Snapshot(call.call_id, &dialogs);
  ASSERT_EQ(dialogs.size(), 1u);
  const std::vector<const void*> memory = MemoryOf(dialogs.front());
  for (int round = 0; round < 3; ++round) {
    folder.Snapshot(call.call_id, &dialogs);
    EXPECT_EQ(MemoryOf(dialogs.front()), memory);
  }
}

}  // namespace
}  // namespace sipheal::testing
