// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/reinvite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "sip/kernel/kernel.h"
#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/built_reinvite.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Reinvite,
     Rule3_16_Rule11_11_IsTheOldDialogWithTheSuccessorsContactAndABranchOfItsOwn_F08_F20) {
  CallScript call;
  call.AnsweredByServer({"<sip:p2;lr>", "<sip:p1;lr>"});
  sip::ReinviteOptions options;
  options.contact = "sip:asterisk@192.0.2.11:5060";
  options.via_sent_by = "192.0.2.11:5060";
  const std::string sdp = Sdp("192.0.2.11", 20000, "2");
  const std::string branch = "z9hG4bKnew";
  const auto text = BuildReinvite(
      call.Only(), options,
      {.branch = branch, .sdp = sdp, .now = sip::CaptureTime(std::chrono::seconds(1'700'000'000))});
  ASSERT_TRUE(text.ok()) << text.status();
  sip::MessageView view;
  ASSERT_TRUE(view.Parse(std::string_view(*text)).ok());
  EXPECT_EQ(view.request_uri(), "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(view.Get(sip::HeaderId::kFrom), "<sip:bob@example.com>;tag=b");
  EXPECT_EQ(view.Get(sip::HeaderId::kTo), "<sip:alice@example.com>;tag=a");
  EXPECT_EQ(view.cseq(), 850'000'001u);
  EXPECT_FALSE(view.Has(sip::HeaderId::kRecordRoute));
  EXPECT_EQ(view.Get(sip::HeaderId::kMaxForwards), "70");
  int vias = 0;
  view.ForEach(sip::HeaderId::kVia, [&](std::string_view) { ++vias; });
  EXPECT_EQ(vias, 1);
  std::vector<std::string> routes;
  view.ForEach(sip::HeaderId::kRoute, [&](std::string_view value) { routes.emplace_back(value); });
  EXPECT_THAT(routes, ElementsAre("<sip:p2;lr>", "<sip:p1;lr>"));
  EXPECT_EQ(view.body(), sdp);
  // Rule 11.11: a branch of its own.
  for (const sip::CapturedMessage& message : call.messages) {
    EXPECT_THAT(message.bytes, Not(HasSubstr(branch)));
  }
}

TEST(Reinvite, Rule3_17_AContactWithoutAUserTakesOverTheOldOnes) {
  CallScript call;
  Request invite = call.Receive({});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:conf123@192.0.2.10>"});
  sip::ReinviteOptions options;
  options.via_sent_by = "192.0.2.11:5060";
  for (const auto& [given, written] :
       {std::pair("sip:192.0.2.11:5060", "Contact: <sip:conf123@192.0.2.11:5060>\r\n"),
        std::pair("sips:192.0.2.11;x=1", "Contact: <sips:conf123@192.0.2.11;x=1>\r\n"),
        std::pair("sip:asterisk@192.0.2.11", "Contact: <sip:asterisk@192.0.2.11>\r\n")}) {
    options.contact = given;
    const auto text = BuildReinvite(call.Only(), options);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, HasSubstr(written));
  }
}

TEST(Reinvite, Rule2_10_ADialogThatMayBeSecureGetsNoPlainContact) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  const Request invite = call.Send({.contact = "<sips:asterisk@192.0.2.10:5061>"});
  call.messages.clear();
  call.Reply(invite, {.to_tag = "b", .contact = "<sips:phone@198.51.100.7:5061>"});
  call.Send({.method = "ACK", .to_tag = "b", .uri = "sips:phone@198.51.100.7:5061"});
  sip::ReinviteOptions options;
  options.via_sent_by = "192.0.2.11:5061";
  options.contact = "sip:192.0.2.11:5061";
  EXPECT_FALSE(BuildReinvite(call.Only(), options).ok());
  options.contact = "sips:192.0.2.11:5061";
  EXPECT_TRUE(BuildReinvite(call.Only(), options).ok());
}

TEST(Reinvite, IsAFixedPointOfTheRebuild_F18_F74) {
  for (bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer({"<sip:p2;lr>", "<sip:p1;lr>"});
    } else {
      call.AnsweredByServer({"<sip:p2;lr>", "<sip:p1;lr>"});
    }
    const DialogState first = call.Only();
    sip::ReinviteOptions options;
    options.contact = "sip:asterisk@192.0.2.10:5060";
    options.via_sent_by = "192.0.2.10:5060";
    const auto text = BuildReinvite(first, options);
    ASSERT_TRUE(text.ok());
    sip::CapturedMessage message = call.messages.back();
    message.bytes = *text;
    message.source = *sip::Endpoint::Parse(kServer);
    message.destination = *sip::Endpoint::Parse(kPeer);
    message.time += std::chrono::seconds(1);
    call.messages.push_back(message);
    const DialogState again = call.Only();
    EXPECT_EQ(again.role, first.role);
    EXPECT_EQ(again.local, first.local);
    EXPECT_EQ(again.remote, first.remote);
    EXPECT_EQ(again.route_set, first.route_set);
    EXPECT_EQ(again.remote_target, first.remote_target);
    EXPECT_GT(*again.local_seq, first.local_seq.value_or(0));
  }
}

// The address of the dead server lives on in the o= line alone, whose user, id and address must not
// change (RFC 3264 8).
TEST(Reinvite, F30_HoldsTheSuccessorsAddressesAndNoneOfTheDeadServer) {
  const std::string dead = "192.0.2.10";
  for (bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer({"<sip:198.51.100.7;lr>"});
    } else {
      // The server stands in the route that it was told, too.
      call.AnsweredByServer({"<sip:" + dead + ";lr>", "<sip:198.51.100.7;lr>"});
    }
    const DialogState dialog = call.Only();
    ASSERT_THAT(dialog.local_target, HasSubstr(dead)) << "there is something to be left out";
    sip::ReinviteOptions options;
    options.contact = "sip:asterisk@203.0.113.5:5060";
    options.via_sent_by = "203.0.113.5:5060";
    const auto text = BuildReinvite(
        dialog, options, {.branch = "z9hG4bKnew", .sdp = Sdp("203.0.113.5", 20000, "2")});
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, Not(HasSubstr(dead)));
    EXPECT_THAT(*text, HasSubstr("Contact: <sip:asterisk@203.0.113.5:5060>"));
    EXPECT_THAT(*text, HasSubstr("Via: SIP/2.0/UDP 203.0.113.5:5060"));
    const auto variables = sip::RecoveryVariables(dialog);
    ASSERT_TRUE(variables.ok()) << variables.status();
    for (const auto& [name, value] : *variables) {
      if (name == "PJSIP_RECOVERY_SDP_ORIGIN") {
        EXPECT_THAT(value, HasSubstr("IN IP4 " + dead));
      } else if (name != "PJSIP_RECOVERY_RECORD-ROUTES") {  // for the record, never sent (M4)
        EXPECT_THAT(value, Not(HasSubstr(dead))) << name;
      }
    }
  }
}

TEST(Reinvite, WhatTheSuccessorSaysOfItselfIsCheckedOnce) {
  const sip::ReinviteOptions good = {.contact = "sip:n@192.0.2.11",
                                     .via_sent_by = "[2001:db8::1]:5060",
                                     .user_agent = "successor (1.0)"};
  ASSERT_TRUE(sip::ReinviteWriter::Create(good).ok());
  const std::string unsafe[] = {"x\r\nRoute: <sip:evil>", "x\ny", std::string("x\0y", 3)};
  for (const std::string& bad : unsafe) {
    for (std::string sip::ReinviteOptions::*option :
         {&sip::ReinviteOptions::contact, &sip::ReinviteOptions::via_sent_by,
          &sip::ReinviteOptions::user_agent}) {
      sip::ReinviteOptions options = good;
      options.*option += bad;
      EXPECT_EQ(sip::ReinviteWriter::Create(options).status().code(),
                absl::StatusCode::kInvalidArgument);
    }
  }
  sip::ReinviteOptions no_sip = good;
  no_sip.contact = "tel:+12125551234";
  EXPECT_FALSE(sip::ReinviteWriter::Create(no_sip).ok());
  for (const char* sent_by : {"", "192.0.2.11:", "192.0.2.11:70000", "2001:db8::1", "u@192.0.2.11",
                              "192.0.2.11;received=1", "192.0.2.11 ", "192.0.2.11?x"}) {
    sip::ReinviteOptions options = good;
    options.via_sent_by = sent_by;
    EXPECT_FALSE(sip::ReinviteWriter::Create(options).ok()) << sent_by;
  }
}

TEST(Reinvite, Rule11_11_WithoutABranchOfRfc3261NothingIsWritten) {
  CallScript call;
  call.AnsweredByPeer();
  auto writer = sip::ReinviteWriter::Create({.contact = "sip:n@h", .via_sent_by = "h"});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const char* branch : {"", "1", "Z9HG4BKx", "z9hG4bKx;received=1", "z9hG4bKx\r\nA: b"}) {
    EXPECT_EQ(writer->Write(call.Only(), {.branch = branch}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << branch;
  }
  EXPECT_TRUE(writer->Write(call.Only(), {.branch = "z9hG4bK+x_1"}).ok());
}

TEST(Reinvite, OneWriterWritesAnyDialogAsIfItWereTheFirst) {
  CallScript small;
  small.AnsweredByPeer();
  CallScript large;
  large.AnsweredByPeer({"<sip:p2;lr>", "<sip:" + std::string(5000, 'h') + ";lr>"});
  const sip::ReinviteOptions options = {.contact = "sip:n@h", .via_sent_by = "h"};
  auto writer = sip::ReinviteWriter::Create(options);
  ASSERT_TRUE(writer.ok()) << writer.status();
  DialogState unsafe = large.Only();
  unsafe.remote.display = "x\r\n";
  for (const DialogState& dialog : {small.Only(), large.Only(), unsafe, small.Only()}) {
    const auto expected = BuildReinvite(dialog, options);
    const auto text = writer->Write(dialog, {.branch = "z9hG4bKnew"});
    ASSERT_EQ(text.status(), expected.status());
    if (text.ok()) {
      EXPECT_EQ(*text, *expected);
    }
  }
}

// Nothing of the dialog has become another line, another value, or a part of what stands beside it.
void ExpectReadsBack(const DialogState& dialog, const std::string& text) {
  sip::MessageView view;
  sip::MessageFields fields;
  ASSERT_TRUE(view.Parse(std::string_view(text)).ok()) << text;
  ASSERT_TRUE(fields.Read(view).ok()) << text;
  EXPECT_EQ(view.body(), "");
  EXPECT_EQ(view.call_id(), dialog.call_id);
  EXPECT_EQ(fields.from.display, dialog.local.display);
  EXPECT_EQ(fields.from.uri.text, dialog.local.uri);
  EXPECT_EQ(fields.from_tag, dialog.local.tag);
  EXPECT_EQ(fields.to.display, dialog.remote.display);
  EXPECT_EQ(fields.to.uri.text, dialog.remote.uri);
  EXPECT_EQ(fields.to_tag, dialog.remote.tag);
  const auto next = NextRequest(dialog);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(view.request_uri(), next->request_uri);
  std::vector<std::string> routes;
  view.ForEach(sip::HeaderId::kRoute, [&](std::string_view value) {
    sip::NameAddrView route;
    while (sip::NextNameAddr(&value, &route) == sip::ListStep::kValue) {
      routes.emplace_back(route.uri);
    }
  });
  EXPECT_EQ(routes, next->route);
  for (const sip::HeaderId id : {sip::HeaderId::kVia, sip::HeaderId::kFrom, sip::HeaderId::kTo,
                                 sip::HeaderId::kCallId, sip::HeaderId::kContact}) {
    int lines = 0;
    view.ForEach(id, [&](std::string_view) { ++lines; });
    EXPECT_EQ(lines, 1) << text;
  }
}

TEST(Reinvite, Rule12_9_AQuotedNameWithoutItsClosingQuoteIsRefused) {
  auto writer = sip::ReinviteWriter::Create({.contact = "sip:192.0.2.11", .via_sent_by = "h"});
  ASSERT_TRUE(writer.ok()) << writer.status();
  CallScript call;
  call.Reply(call.Send({}), {.to_tag = "b"});
  DialogState dialog = call.Only();
  // By the parser none gets in, by a store it may.
  for (std::string* display : {&dialog.local.display, &dialog.remote.display}) {
    for (const char last : {'"', '\\', '\n', '\r', '\0', '\x01', 'x'}) {
      *display = std::string("\"A B") + last;
      for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
        const auto text = kernel->WriteReinvite(dialog, {.branch = "z9hG4bKx"}, &*writer);
        EXPECT_EQ(text.ok(), last == '"') << kernel->name << " " << static_cast<int>(last);
      }
    }
    display->clear();
  }
}

// What a kernel takes for plain is what the slow look lets through, byte by byte.
TEST(Reinvite, Rule12_9_EveryKernelWritesAndRefusesWhatTheSlowLookDoes) {
  static constexpr std::string_view kParts[] = {
      "\r",   "\n",   " ",     "<",    ">",   "\"",        "\\",        ";",       ",",
      "@",    "?",    "lr",    "=",    "[",   "]",         ":",         "65536",   "\t",
      "\x7f", "\xc3", "sips:", "tel:", "%",   "?a=b",      "M",         "_",       "'",
      "(",    ";lr=", ";LR",   ";m",   "\0x", ";method=x", ";Method=B", "sip:a@b", "\\\""};
  const sip::kernel::Kernel& best = sip::kernel::BestKernel();
  sip::kernel::Kernel never_plain = best;
  never_plain.reads_back = [](const sip::kernel::WrittenRequest&) { return false; };
  auto writer = sip::ReinviteWriter::Create({.contact = "sip:192.0.2.11", .via_sent_by = "h"});
  ASSERT_TRUE(writer.ok()) << writer.status();
  CallScript call;
  Request invite = call.Send(
      {.from = "\"A B\" <sip:alice@example.com>", .contact = "<sip:alice@192.0.2.10:5060>"});
  call.Reply(invite, {.to_tag = "as1f0c",
                      .contact = "<sip:phone@198.51.100.7:5060;transport=udp;ob>",
                      .record_route = {"<sip:198.51.100.8;lr;did=3>", "<sip:p2.example.com;lr>"}});
  DialogState whole = call.Only();
  whole.remote.display = "Bob";
  ASSERT_TRUE(writer->Write(whole, {.branch = "z9hG4bKx"}).ok());
  std::mt19937 random(12);
  int written = 0;
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    DialogState dialog = whole;
    std::string* const texts[] = {
        &dialog.call_id,        &dialog.remote_target, &dialog.remote_target,
        &dialog.route_set[0],   &dialog.route_set[1],  &dialog.local.display,
        &dialog.local.uri,      &dialog.local.params,  &dialog.local.tag,
        &dialog.remote.uri,     &dialog.remote.tag,    &dialog.remote.display,
        &dialog.remote.display, &dialog.local_target};
    for (auto edits = 1 + random() % 2; edits > 0; --edits) {
      std::string& text = *texts[random() % std::size(texts)];
      const std::size_t at = random() % (text.size() + 1);
      switch (random() % 5) {
        case 0:
          text.insert(at, kParts[random() % std::size(kParts)]);
          break;
        case 1:
          text.erase(at, 1 + random() % 3);
          break;
        case 2:
          text.insert(at, std::string(random() % 150, "ab;.-1"[random() % 6]));
          break;
        case 3:
          if (at < text.size()) text[at] = kParts[random() % std::size(kParts)][0];
          break;
        default:
          text.insert(at, 1, static_cast<char>(random()));
      }
    }
    if (round % 50 == 0) dialog.missing = {sip::Field::kRouteSet};
    const auto slow = never_plain.WriteReinvite(dialog, {.branch = "z9hG4bKx"}, &*writer);
    const std::string expected = slow.ok() ? std::string(*slow) : slow.status().ToString();
    (slow.ok() ? written : refused) += 1;
    if (slow.ok()) ExpectReadsBack(dialog, expected);
    for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
      const auto text = kernel->WriteReinvite(dialog, {.branch = "z9hG4bKx"}, &*writer);
      ASSERT_EQ(text.ok() ? std::string(*text) : text.status().ToString(), expected)
          << kernel->name;
    }
  }
  EXPECT_GT(written, 2000);
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace sipheal::testing
