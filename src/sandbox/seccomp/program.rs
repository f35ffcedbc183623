//! The filter machine's instructions, and how rules become them.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

/// Two jumps that the libc crate does not name.
const BPF_JA: u32 = 0x00;
const BPF_JGE: u32 = 0x30;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is done.
    Allow,
    /// It fails with this error.
    Fail(i32),
    /// The listener decides.
    Ask,
}

impl Action {
    const fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Self::Ask => libc::SECCOMP_RET_USER_NOTIF,
        }
    }
}

/// A question about an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// The lower 32 bits are this.
    Is(u32),
    /// None of these bits is set in the lower 32.
    NoneOf(u32),
}

/// A rule for one call: the first whose tests hold decides.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The call's number.
    pub(super) call: libc::c_long,
    /// Arguments (by position) and what must hold for each.
    pub(super) tests: Vec<(u32, Test)>,
    /// Then this.
    pub(super) action: Action,
}

/// The machine's view of a call: `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
pub(super) const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const THIS_ARCHITECTURE: u32 = 0xc000_00b7;

const fn statement(code: u32, operand: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
}

const fn jump(test: u32, operand: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: if_true, jf: if_false, k: operand }
}

const fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

const fn answer(action: Action) -> sock_filter {
    statement(BPF_RET | BPF_K, action.code())
}

/// What another architecture that the machine runs programs for gets.
#[derive(Debug, Clone)]
pub(super) struct Other {
    /// Its name in the kernel's audit.
    pub(super) architecture: u32,
    /// Rules for single calls, by its numbers; they come first.
    pub(super) rules: Vec<Rule>,
    /// Ranges of its numbers, both ends included, that are allowed.
    pub(super) allowed: &'static [(u32, u32)],
}

/// Compiles `rules`. Calls of architectures that are not in `others` and numbers above `newest` do not
/// exist; what nothing decides gets `otherwise`.
///
/// A plain list, since the kernel remembers for each number whether the answer is always "allow" and then
/// does not run the program at all.
pub(super) fn compile(
    rules: &[Rule],
    newest: Option<libc::c_long>,
    others: &[Other],
    otherwise: Action,
) -> Vec<sock_filter> {
    let begin = |rules: &[Rule]| -> Vec<sock_filter> {
        let unknown =
            newest.map(|newest| [jump(BPF_JGT, newest as u32, 0, 1), answer(Action::Fail(libc::ENOSYS))]);
        let rules = rules.iter().flat_map(rule_block);
        [load(NUMBER)].into_iter().chain(unknown.into_iter().flatten()).chain(rules).collect()
    };
    let mut native = begin(rules);
    native.push(answer(otherwise));
    let sections = others.iter().map(|other| {
        let mut section = begin(&other.rules);
        for (first, last) in other.allowed {
            section.extend([jump(BPF_JGE, *first, 0, 2), jump(BPF_JGT, *last, 1, 0), answer(Action::Allow)]);
        }
        section.push(answer(otherwise));
        section
    });
    let sections: Vec<_> = sections.collect();
    // The question which architecture it is; far jumps lead to the sections behind the native one.
    let mut program = vec![load(ARCHITECTURE)];
    let mut target = 1 + 2 * others.len() + 2 + native.len();
    for (other, section) in others.iter().zip(&sections) {
        program.push(jump(BPF_JEQ, other.architecture, 0, 1));
        program.push(statement(BPF_JMP | BPF_JA, (target - program.len() - 1) as u32));
        target += section.len();
    }
    program.extend([jump(BPF_JEQ, THIS_ARCHITECTURE, 1, 0), answer(Action::Fail(libc::ENOSYS))]);
    program.extend(native);
    program.extend(sections.into_iter().flatten());
    program
}

/// One rule. The accumulator holds the number before it and after it.
fn rule_block(rule: &Rule) -> Vec<sock_filter> {
    let mut body = Vec::new();
    for (position, test) in &rule.tests {
        body.push((load(ARGUMENTS + position * 8), false));
        match test {
            Test::Is(value) => body.push((jump(BPF_JEQ, *value, 0, 0), true)),
            Test::NoneOf(bits) => {
                body.push((statement(BPF_ALU | BPF_AND | BPF_K, *bits), false));
                body.push((jump(BPF_JEQ, 0, 0, 0), true));
            }
        }
    }
    body.push((answer(rule.action), false));
    let length = body.len();
    let mut block: Vec<_> = body
        .into_iter()
        .enumerate()
        .map(|(at, (mut instruction, is_test))| {
            if is_test {
                // Past the answer, to the reload of the number.
                instruction.jf = (length - at - 1) as u8;
            }
            instruction
        })
        .collect();
    if rule.tests.is_empty() {
        block.insert(0, jump(BPF_JEQ, rule.call as u32, 0, length as u8));
    } else {
        block.push(load(NUMBER));
        block.insert(0, jump(BPF_JEQ, rule.call as u32, 0, length as u8 + 1));
    }
    block
}

#[cfg(test)]
pub(super) mod machine {
    //! The filter machine in some lines, to ask programs what they answer.

    use super::*;

    /// Runs `program` on a call.
    pub(in crate::sandbox::seccomp) fn run(
        program: &[sock_filter],
        architecture: u32,
        call: u32,
        arguments: [u64; 6],
    ) -> u32 {
        let mut data = Vec::new();
        data.extend(call.to_ne_bytes());
        data.extend(architecture.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let instruction = &program[at];
            at += 1;
            match u32::from(instruction.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    let offset = instruction.k as usize;
                    accumulator = u32::from_ne_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= instruction.k,
                code if code == BPF_JMP | BPF_JA => at += instruction.k as usize,
                code if code == BPF_RET | BPF_K => return instruction.k,
                code => {
                    let holds = match code & 0xf0 {
                        BPF_JEQ => accumulator == instruction.k,
                        BPF_JGT => accumulator > instruction.k,
                        BPF_JGE => accumulator >= instruction.k,
                        other => panic!("no such jump: {other:#x}"),
                    };
                    at += usize::from(if holds { instruction.jt } else { instruction.jf });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_holds_decides() {
        let rules = [
            Rule { call: 5, tests: vec![(0, Test::Is(7)), (1, Test::NoneOf(0b110))], action: Action::Allow },
            Rule { call: 5, tests: vec![(2, Test::Is(1))], action: Action::Fail(9) },
            Rule { call: 6, tests: vec![], action: Action::Allow },
        ];
        let other = |architecture, allowed| Other {
            architecture,
            rules: vec![Rule { call: 9, tests: vec![], action: Action::Fail(2) }],
            allowed,
        };
        let others = [other(77, &[(1, 3), (5, 5)]), other(78, &[(8, 10)])];
        let program = compile(&rules, Some(100), &others, Action::Fail(1));
        let ask = |call, arguments| machine::run(&program, THIS_ARCHITECTURE, call, arguments);
        for (call, arguments, expected) in [
            (5, [7, 1, 0, 0, 0, 0], Action::Allow),
            (5, [7, 2, 1, 0, 0, 0], Action::Fail(9)),
            (5, [8, 0, 0, 0, 0, 0], Action::Fail(1)),
            (6, [8, 0, 0, 0, 0, 0], Action::Allow),
            (7, [0; 6], Action::Fail(1)),
            (101, [0; 6], Action::Fail(libc::ENOSYS)),
        ] {
            assert_eq!(ask(call, arguments), expected.code(), "{call} {arguments:?}");
        }
        for (architecture, call, expected) in [
            (1, 6, Action::Fail(libc::ENOSYS)),
            (77, 0, Action::Fail(1)),
            (77, 1, Action::Allow),
            (77, 3, Action::Allow),
            (77, 4, Action::Fail(1)),
            (77, 5, Action::Allow),
            (77, 9, Action::Fail(2)),
            (77, 101, Action::Fail(libc::ENOSYS)),
            (78, 8, Action::Allow),
            (78, 9, Action::Fail(2)),
            (78, 1, Action::Fail(1)),
        ] {
            let answer = machine::run(&program, architecture, call, [0; 6]);
            assert_eq!(answer, expected.code(), "{architecture}: {call}");
        }
    }
}
