// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/method.h"

namespace sipheal::inline v0_1::sip {
namespace {

struct MethodName {
  Method method;
  std::string_view name;
};
constexpr MethodName kNames[] = {
    {Method::kInvite, "INVITE"},       {Method::kAck, "ACK"},         {Method::kBye, "BYE"},
    {Method::kCancel, "CANCEL"},       {Method::kUpdate, "UPDATE"},   {Method::kPrack, "PRACK"},
    {Method::kInfo, "INFO"},           {Method::kRefer, "REFER"},     {Method::kNotify, "NOTIFY"},
    {Method::kSubscribe, "SUBSCRIBE"}, {Method::kMessage, "MESSAGE"}, {Method::kOptions, "OPTIONS"},
    {Method::kRegister, "REGISTER"},   {Method::kPublish, "PUBLISH"},
};

}  // namespace

Method MethodFromString(std::string_view text) {
  for (const MethodName& entry : kNames) {
    if (entry.name == text) return entry.method;
  }
  return Method::kOther;
}

std::string_view ToString(Method method) {
  for (const MethodName& entry : kNames) {
    if (entry.method == method) return entry.name;
  }
  return "OTHER";
}

}  // namespace sipheal::inline v0_1::sip
