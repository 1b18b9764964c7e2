//! What affinity remembers, and for how long: until the time-out has passed without a new connection, also while agents start anew;
//! then the first pick counts, which is the same as ever.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Stage;
use crate::Result;
use crate::checks::HTTP;
use crate::fabric::Pod;
use crate::wait::pass;

/// Time-out of the service.
const TIME_OUT: Duration = Duration::from_secs(2);
/// A new connection comes that often.
const EVERY: Duration = Duration::from_millis(250);
/// For so long: longer than the time-out, so that each connection must have renewed it.
const SPAN: Duration = Duration::from_millis(2_600);
/// Two connections that are further apart prove nothing: the machine was busy.
const APART: Duration = Duration::from_millis(1_700);
/// The client is silent for so long.
const SILENCE: Duration = Duration::from_millis(2_300);
/// A busy machine is given so many chances.
const TRIES: usize = 5;

/// A client stays while it comes back in time, also with a backend that a hash wouldn't pick and through a restart of its agent; after
/// its time-out it goes where it went first.
pub fn affinity_times_out(stage: &Stage<'_>) -> Result<String> {
    let memory = Memory { stage, address: set(stage, &[true, true])? };
    let (a, c) = (&stage.cast.a, &stage.cast.c);
    let mut first = BTreeMap::new();
    for client in [a, c] {
        first.insert(client.name(), memory.ask(client)?);
    }
    let (tries, stayed) = memory.stays_with_another(a, &first[a.name()])?;
    // The client on the other node is silent all the while: its agent starts anew too.
    stage.fabric.restart(c.node(), "agent")?;
    pass(SILENCE);
    for client in [a, c] {
        let again = memory.ask(client)?;
        let before = &first[client.name()];
        ensure!(again == *before, "{} met {before} first and {again} after its time-out", client.name());
    }
    for object in [["service", "brief"], ["eps", "brief-one"], ["eps", "brief-two"]] {
        stage.fabric.weft(&["delete", object[0], object[1], "--yes"])?.success("weft delete")?;
    }
    Ok(format!(
        "time-out {} s: {stayed} connections in {} s stayed with the backend that no hash picks, through a restart of the agent (try \
         {tries}); after {} ms of silence the first picks again: {first:?}",
        TIME_OUT.as_secs(),
        SPAN.as_secs_f32(),
        SILENCE.as_millis()
    ))
}

/// The service with the backends `one` and `two`, ready or not; its address.
fn set(stage: &Stage<'_>, ready: &[bool; 2]) -> Result<IpAddr> {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: brief }}\nspec:\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: \
         {{ clientIP: {{ timeoutSeconds: {} }} }}\n  ports: [{{ port: {HTTP} }}]\n",
        TIME_OUT.as_secs()
    );
    for (pod, ready) in [&stage.one, &stage.two].into_iter().zip(ready) {
        let address = pod.addresses()[0];
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        text.push_str(&format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: brief-{}, labels: \
             {{ kubernetes.io/service-name: brief }} }}\naddressType: {family}\nports: [{{ port: {HTTP} }}]\nendpoints: \
             [{{ addresses: [\"{address}\"], conditions: {{ ready: {ready} }} }}]\n",
            pod.name()
        ));
    }
    stage.fabric.apply(&text)?;
    stage.service("brief")?.addresses()?.first().copied().context("no address")
}

struct Memory<'a> {
    stage: &'a Stage<'a>,
    address: IpAddr,
}

impl Memory<'_> {
    fn ask(&self, client: &Pod) -> Result<String> {
        Ok(self.stage.ask(&client.place(), self.address, HTTP)?.0)
    }

    /// The client is led to the backend that isn't its first pick, and stays there while it comes back in time; which try it was,
    /// and how often the client came.
    fn stays_with_another(&self, client: &Pod, pick: &str) -> Result<(usize, usize)> {
        let (one, two) = (self.stage.one.name(), self.stage.two.name());
        let other = if pick == one { two } else { one };
        for attempt in 1..=TRIES {
            set(self.stage, &[pick != one, pick != two])?;
            let met = self.ask(client)?;
            ensure!(met == other, "{met} answers and isn't ready");
            let mut last = Instant::now();
            set(self.stage, &[true, true])?;
            let (mut times, mut longest, began) = (0, Duration::ZERO, Instant::now());
            let restart = || self.stage.fabric.restart(client.node(), "agent");
            let (moved, restarted) = std::thread::scope(|scope| -> Result<_> {
                let restarted = scope.spawn(restart);
                let mut moved = None;
                while moved.is_none() && began.elapsed() < SPAN {
                    let met = self.ask(client)?;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                    times += 1;
                    moved = (met != other).then_some(met);
                    pass(EVERY);
                }
                Ok((moved, restarted.join()))
            })?;
            restarted.map_err(|_| anyhow::anyhow!("restarting the agent panicked"))??;
            match moved {
                None if longest <= APART => return Ok((attempt, times)),
                Some(met) if longest <= APART => {
                    anyhow::bail!(
                        "after {times} connections, {longest:?} apart at most, {met} answered instead of {other}"
                    )
                }
                None | Some(_) => {}
            }
        }
        anyhow::bail!("this machine is too busy for a time-out of {TIME_OUT:?}")
    }
}
