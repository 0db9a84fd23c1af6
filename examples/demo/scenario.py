# SPDX-License-Identifier: Apache-2.0
"""The SIPp scenarios of the demo's phones, one for callers and one for called phones.

A phone does what a plain phone does: it talks until it hangs up, and answers a re-INVITE in between
with 200 and its SDP. It takes two commands, which the demo sends to it as datagrams with the
call's Call-ID: HOLD (the phone puts its server on hold) and HANGUP (it sends BYE).
"""

_SDP = """
      v=0
      o=phone [field1] %(version)s IN IP4 [local_ip]
      s=-
      c=IN IP4 [local_ip]
      t=0 0
      m=audio [field1] RTP/AVP 0 101
      a=rtpmap:0 PCMU/8000
      a=rtpmap:101 telephone-event/8000
      a=fmtp:101 0-15
      a=%(direction)s"""


def _sdp(version, direction):
    return _SDP % {"version": version, "direction": direction}


# Where the server is now: the target of what the phone sends, from the server's Contact.
_TARGET = """
      <ereg regexp="sip:[^;>]*" search_in="hdr" header="Contact:" assign_to="target"/>
      <ereg regexp="sip:([^@>]*@)?([0-9.]+):([0-9]+)" search_in="hdr" header="Contact:"
            assign_to="whole,user,host,port"/>"""

_CONTACT = "Contact: <sip:phone@[local_ip]:[local_port]>"

_CALL = """
  <send retrans="500">
    <![CDATA[

      INVITE sip:[field0]@[server] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      Max-Forwards: 70
      From: "Phone [field0]" <sip:[field0]@[local_ip]>;tag=[pid]phone[call_number]
      To: <sip:[field0]@[domain]>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      %(contact)s
      Content-Type: application/sdp
      Content-Length: [len]
%(sdp)s

    ]]>
  </send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true">
    <action>
      <ereg regexp="[^ ].*" search_in="hdr" header="From:" assign_to="own"/>
      <ereg regexp="[^ ].*" search_in="hdr" header="To:" assign_to="peer"/>%(target)s
    </action>
  </recv>
  <send>
    <![CDATA[

      ACK [$target] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      Max-Forwards: 70
      From: [$own]
      To: [$peer]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Content-Length: 0

    ]]>
  </send>
"""

_ANSWER = """
  <recv request="INVITE" rrs="true">
    <action>
      <ereg regexp="[^ ].*" search_in="hdr" header="From:" assign_to="peer"/>
      <ereg regexp="[^ ].*" search_in="hdr" header="To:" assign_to="invited"/>%(target)s
      <assignstr assign_to="own" value="[$invited];tag=[pid]phone[call_number]"/>
    </action>
  </recv>
  <send retrans="500">
    <![CDATA[

      SIP/2.0 200 OK
      [last_Via:]
      [last_Record-Route:]
      From: [$peer]
      To: [$own]
      [last_Call-ID:]
      [last_CSeq:]
      %(contact)s
      Content-Type: application/sdp
      Content-Length: [len]
%(sdp)s

    ]]>
  </send>
  <recv request="ACK"/>
"""

_TALK = """
  <label id="talk"/>
  <recv request="INVITE" optional="true" next="reinvite"><action>%(target)s
    </action></recv>
  <recv request="ACK" optional="true" next="talk"/>
  <recv request="BYE" optional="true" next="ended"/>
  <recv request="HOLD" optional="true" next="hold"/>
  <recv response="200" optional="true" next="talk"/>
  <recv request="HANGUP" next="hangup"/>

  <label id="reinvite"/>%(destination)s
  <send retrans="500">
    <![CDATA[

      SIP/2.0 200 OK
      [last_Via:]
      [last_Record-Route:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      %(contact)s
      Content-Type: application/sdp
      Content-Length: [len]
%(answer)s

    ]]>
  </send>
  <recv request="INVITE" optional="true" next="reinvite"><action>%(target)s
    </action></recv>
  <recv request="BYE" optional="true" next="ended"/>
  <recv request="HOLD" optional="true" next="hold"/>
  <recv request="HANGUP" optional="true" next="hangup"/>
  <recv request="ACK" next="talk" timeout="8000" ontimeout="talk"/>

  <label id="hold"/>
  <nop hide="true"><action><assignstr assign_to="media" value="sendonly"/></action></nop>
  <send retrans="500">
    <![CDATA[

      INVITE [$target] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      Max-Forwards: 70
      From: [$own]
      To: [$peer]
      Call-ID: [call_id]
      CSeq: 2000 INVITE
      %(contact)s
      Content-Type: application/sdp
      Content-Length: [len]
%(hold)s

    ]]>
  </send>
  <recv response="100" optional="true"/>
  <recv response="200"/>
  <send next="talk">
    <![CDATA[

      ACK [$target] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      Max-Forwards: 70
      From: [$own]
      To: [$peer]
      Call-ID: [call_id]
      CSeq: 2000 ACK
      Content-Length: 0

    ]]>
  </send>

  <label id="hangup"/>
  <send retrans="500">
    <![CDATA[

      BYE [$target] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      Max-Forwards: 70
      From: [$own]
      To: [$peer]
      Call-ID: [call_id]
      CSeq: 2001 BYE
      Content-Length: 0

    ]]>
  </send>
  <recv response="100" optional="true"/>
  <recv response="481" optional="true" next="done"/>
  <recv response="408" optional="true" next="done"/>
  <recv response="200" next="done" timeout="12000" ontimeout="done"/>

  <label id="ended"/>
  <send>
    <![CDATA[

      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

    ]]>
  </send>
  <label id="done"/>
  <nop hide="true"/>
"""


def scenario(*, calling, through_proxy):
    """The text of one scenario. A phone behind the proxy sends all to the proxy; another one sends
    to where its server said it is (its Contact), as it has no route set."""
    destination = "" if through_proxy else """
  <nop hide="true"><action>
    <setdest host="[$host]" port="[$port]" protocol="udp"/>
  </action></nop>"""
    values = {
        "contact": _CONTACT, "target": _TARGET, "destination": destination,
        "sdp": _sdp("1", "sendrecv"), "answer": _sdp("1", "[$media]"),
        "hold": _sdp("2", "sendonly"),
    }
    name = "caller" if calling else "called phone"
    unused = "whole,user" + (",host,port" if through_proxy else "")
    return (f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="{name}">
  <nop hide="true"><action><assignstr assign_to="media" value="sendrecv"/></action></nop>"""
            + (_CALL if calling else _ANSWER) % values + _TALK % values
            + f"""  <Reference variables="{unused}"/>
</scenario>
""")
